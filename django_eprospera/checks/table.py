"""Which ids do our system checks have, and what does each stand for?"""

from __future__ import annotations

from typing import Final

from django.core.checks import Error, Warning  # noqa: A004 - Django's name

__all__ = ["CHECKS", "error", "warning"]

# Every id, and what it stands for. An id is never given a second meaning.
CHECKS: Final[dict[str, str]] = {
    "eprospera.E001": "FIELD_ENCRYPTION_KEY is missing or is not a Fernet key",
    "eprospera.E002": "EPROSPERA_INDEX_KEY is not a Fernet key",
    "eprospera.E003": "the client ID or secret is missing",
    "eprospera.E004": "the backend is not in AUTHENTICATION_BACKENDS",
    "eprospera.E005": "python-social-auth is not installed, or its URLs are not mounted",
    "eprospera.E006": "EPROSPERA_BASE_URL is not an origin",
    "eprospera.E007": "EPROSPERA_BASE_URL is plain http on another machine",
    "eprospera.E008": "EPROSPERA_TOKEN_AUTH_METHOD is unknown",
    "eprospera.E009": "EPROSPERA_USER_FIELDS names an unknown field",
    "eprospera.E010": "a setting is of the wrong kind or out of range",
    "eprospera.E011": "EPROSPERA_REFRESH_LEASE ends before a refresh has to",
    "eprospera.E012": "EPROSPERA_STORAGE is no alias in STORAGES",
    "eprospera.E013": "SOCIAL_AUTH_EPROSPERA_SCOPE is neither a list nor words",
    "eprospera.E020": "something is sealed under a key that is not configured",
    "eprospera.E021": "a sealed column holds what was never sealed",
    "eprospera.E101": "the label of a sealed field is malformed",
    "eprospera.E102": "a sealed field has an option that cannot work",
    "eprospera.E103": "a sealed field is in a model whose primary key is not known in time",
    "eprospera.E104": "a blind index has no sealed source, or its model does not keep it",
    "eprospera.W001": "a scope is requested that e-Próspera does not know",
    "eprospera.W002": "offline_access is not requested",
    "eprospera.W003": "the step that keeps the tokens comes before there is a user",
    "eprospera.W004": "tasks run inside requests",
    "eprospera.W005": "the provider is a sandbox on this machine",
    "eprospera.W006": "a setting is not one of this package's",
}


def error(number: str, text: str, hint: str) -> Error:
    """What keeps the site from working, or from being safe."""
    return Error(text, hint, id=f"eprospera.{number}")


def warning(number: str, text: str, hint: str) -> Warning:
    """What is seldom meant."""
    return Warning(text, hint, id=f"eprospera.{number}")
