"""Registered clients: the one of the options, and the public client of the provider's command line tool.

docs/provider.md#device-flow-and-other-endpoints describes the second, which has no secret and signs in with the device flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

from django_eprospera.sandbox.options import CLI_CLIENT_ID
from django_eprospera.sandbox.state import current
from django_eprospera.scopes import ENTITY_DOCUMENTS_READ, ENTITY_READ, LABELS

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["ALL_LABELS", "DEVICE_CODE", "ENTITY_SCOPES", "allowed_scopes"]

# The grant type of RFC 8628.
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"

_ENTITY_TAX_READ: Final = "eprospera:entity.tax.read"

# The two scopes that only the command line client may request come after the scopes of the metadata.
ALL_LABELS: Final[dict[str, _StrPromise]] = {
    **LABELS,
    "eprospera:person.tax.read": _("See your tax data"),
    _ENTITY_TAX_READ: _("See the tax data of those companies"),
}

# With one of these, the user chooses which companies to share.
ENTITY_SCOPES: Final = frozenset({ENTITY_READ, ENTITY_DOCUMENTS_READ, _ENTITY_TAX_READ})


def allowed_scopes(client_id: str) -> tuple[str, ...]:
    """Return the scopes that a client may request."""
    return tuple(ALL_LABELS) if client_id == CLI_CLIENT_ID else current().options.allowed_scopes
