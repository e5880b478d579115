"""The scopes of e-Próspera, with labels for users.

The nine scopes of the provider's discovery document. The labels are what a consent page or an account page may show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = [
    "EMAIL",
    "ENTITY_DOCUMENTS_READ",
    "ENTITY_READ",
    "FEATURES",
    "LABELS",
    "OFFLINE_ACCESS",
    "OPENID",
    "PERSON_DETAILS_READ",
    "PERSON_ID_VERIFICATION_READ",
    "PERSON_RESIDENCY_READ",
    "PROFILE",
]

OPENID: Final = "openid"
PROFILE: Final = "profile"
EMAIL: Final = "email"
OFFLINE_ACCESS: Final = "offline_access"
PERSON_DETAILS_READ: Final = "eprospera:person.details.read"
PERSON_RESIDENCY_READ: Final = "eprospera:person.residency.read"
PERSON_ID_VERIFICATION_READ: Final = "eprospera:person.id_verification.read"
ENTITY_READ: Final = "eprospera:entity.read"
ENTITY_DOCUMENTS_READ: Final = "eprospera:entity.documents.read"

# In the order in which users should read them.
LABELS: Final[dict[str, _StrPromise]] = {
    OPENID: _("Sign you in with your e-Próspera account"),
    PROFILE: _("See your name and your photo"),
    EMAIL: _("See your e-mail address"),
    PERSON_DETAILS_READ: _("See your personal details: names, permit number, birth, citizenships, address, phone"),
    PERSON_RESIDENCY_READ: _("See whether you are a resident, of which kind and since when"),
    PERSON_ID_VERIFICATION_READ: _("See your identity check: the pictures of your document and of your face"),
    ENTITY_READ: _("See the companies that you choose to share"),
    ENTITY_DOCUMENTS_READ: _("See the documents of those companies"),
    OFFLINE_ACCESS: _("Keep this access when you are away, until you take it back"),
}

# The scope that each resource needs (docs/provider.md#scopes). `ResourceState.Resource` has the same names.
RESOURCES: Final[dict[str, str]] = {
    "natural_person": PERSON_DETAILS_READ,
    "residency": PERSON_RESIDENCY_READ,
    "id_verification": PERSON_ID_VERIFICATION_READ,
    "legal_entities": ENTITY_READ,
    "entity_documents": ENTITY_DOCUMENTS_READ,
}

# The scopes that each feature needs. `offline_access` is not among them: without it the data is as old as the last sign-in.
FEATURES: Final[dict[str, tuple[str, ...]]] = {
    "sign_in": (OPENID, PROFILE, EMAIL),
    "residency": (PERSON_RESIDENCY_READ,),
    "kyc": (PERSON_DETAILS_READ, PERSON_ID_VERIFICATION_READ),
    "companies": (ENTITY_READ, ENTITY_DOCUMENTS_READ),
}
