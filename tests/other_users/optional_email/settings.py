"""Settings of the test suite with this user model, whose people share no e-mail address."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.other_users.optional_email"]
AUTH_USER_MODEL = "optional_email.Member"
ROOT_URLCONF = "tests.sign_in.urls"
SOCIAL_AUTH_EPROSPERA_SCOPE = ["openid", "profile", "offline_access"]
