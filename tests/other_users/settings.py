"""Settings of the test suite with the other user model."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.other_users"]
AUTH_USER_MODEL = "other_users.User"
ROOT_URLCONF = "tests.sign_in.urls"
SOCIAL_AUTH_EPROSPERA_SCOPE = [
    "openid", "email", "offline_access", "eprospera:person.details.read", "eprospera:person.residency.read",
    "eprospera:person.id_verification.read", "eprospera:entity.read", "eprospera:entity.documents.read",
]  # fmt: skip
EPROSPERA_USER_FIELDS = ["email"]
