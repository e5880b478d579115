"""The ids of the system checks, and their meanings."""

from __future__ import annotations

from typing import Final

from django.core.checks import Error, Warning  # noqa: A004 - Django's name

__all__ = ["CHECKS", "error", "warning"]

# An id is never given a second meaning.
CHECKS: Final[dict[str, str]] = {
    "eprospera.E001": "FIELD_ENCRYPTION_KEY is missing or is not a Fernet key",
    "eprospera.E002": "EPROSPERA_INDEX_KEY is not a Fernet key",
    "eprospera.E003": "the client ID or secret is missing",
    "eprospera.E004": "the backend is not in AUTHENTICATION_BACKENDS",
    "eprospera.E005": "python-social-auth is not installed, or URLs are not mounted",
    "eprospera.E006": "EPROSPERA_BASE_URL is not an origin",
    "eprospera.E007": "EPROSPERA_BASE_URL uses plain http to another machine",
    "eprospera.E008": "EPROSPERA_TOKEN_AUTH_METHOD is unknown",
    "eprospera.E009": "EPROSPERA_USER_FIELDS names an unknown field",
    "eprospera.E010": "a setting has the wrong type or is out of range",
    "eprospera.E011": "EPROSPERA_REFRESH_LEASE is shorter than a refresh may take",
    "eprospera.E012": "EPROSPERA_STORAGE is not an alias in STORAGES",
    "eprospera.E013": "SOCIAL_AUTH_EPROSPERA_SCOPE is neither a list nor a string",
    "eprospera.E014": "EPROSPERA_GATES is no policy, or its middleware is not installed",
    "eprospera.E015": "EPROSPERA_SIGNING_KEY is not a key, or encrypts too",
    "eprospera.E020": "a value, file or index entry needs a key that is not configured",
    "eprospera.E021": "a sealed column contains plain text",
    "eprospera.E101": "the label of a sealed field is malformed",
    "eprospera.E102": "a sealed field has an option that cannot work",
    "eprospera.E103": "a sealed field is in a model whose primary key is not known in time",
    "eprospera.E104": "a blind index has no sealed source, or its model does not keep it",
    "eprospera.W001": "a scope is requested that e-Próspera does not know",
    "eprospera.W002": "offline_access is not requested",
    "eprospera.W003": "the pipeline step that stores the tokens comes before the user exists",
    "eprospera.W004": "tasks run inside requests",
    "eprospera.W005": "the provider is a sandbox on this machine",
    "eprospera.W006": "a setting has the prefix of this package and is unknown to it",
    "eprospera.W007": "a Content-Security-Policy blocks the sign-in button",
    "eprospera.W008": "the clock of this host is wrong",
    "eprospera.W009": "a gate or the review needs a scope that is not requested",
    "eprospera.W010": "connections belong to another provider or client than that of the settings",
    "eprospera.W011": "somebody may export case files, and EPROSPERA_SIGNING_KEY is missing",
}


def error(number: str, text: str, hint: str) -> Error:
    """Return an error: the site does not work, or is not safe."""
    return Error(text, hint, id=f"eprospera.{number}")


def warning(number: str, text: str, hint: str) -> Warning:
    """Return a warning: a setting that is seldom intended."""
    return Warning(text, hint, id=f"eprospera.{number}")
