"""A check of this host's clock against the database's and the provider's (`check --deploy --database default`)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.checks import CheckMessage, Tags, register
from django.db import connections

from django_eprospera.checks.table import warning
from django_eprospera.conf import conf
from django_eprospera.errors import ApiError
from django_eprospera.provider import clock
from django_eprospera.provider.http import Limits, call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["check_clock"]

# A provider that is slow or down is not waited for, and not reported here.
_LIMITS: Final = Limits(connect_timeout=3.0, read_timeout=3.0, deadline=5.0)


@register(Tags.database, deploy=True)
def check_clock(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return warnings if this host's clock differs from that of these databases or, if there are any, of the provider."""
    found: list[CheckMessage] = []
    for whose, behind in _differences(databases or ()):
        if abs(behind) > clock.TOLERATED:
            text = (
                f"The clock of this host is {abs(behind):.0f} seconds {'behind' if behind > 0 else 'ahead of'} {whose}."
            )
            hint = "Set the clock, for example by NTP. Sign-ins are refused while it differs from the provider's."
            found.append(warning("W008", text, hint))
    return found


def _differences(databases: Sequence[str]) -> Iterator[tuple[str, float]]:
    for alias in databases:
        if connections[alias].vendor == "postgresql":  # SQLite reads the clock of this host
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT clock_timestamp()")
                yield f"that of database {alias!r}", (cursor.fetchone()[0] - datetime.now(UTC)).total_seconds()
    if not databases:
        return
    path = "/.well-known/openid-configuration"
    try:
        call("GET", conf.EPROSPERA_BASE_URL + path, limits=_LIMITS, path_template=path)
    except (ApiError, ValueError):
        return
    behind = clock.seconds_behind()
    if behind is not None:
        yield "e-Próspera's", behind
