"""Opening and sealing with Fernet alone ÷ `eprospera_rotate_keys` of the same values. tests/test_rotation.py kills it."""

import itertools

from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone

from django_eprospera.models import Connection
from django_eprospera.rotation import count_outdated, tables

OLD, NEW = "ycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJyck=", "ysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKyso="
# The size of an RS256 access token and of an opaque refresh token.
ACCESS, REFRESH = "a" * 900, "rt_" + "r" * 43
NUMBER = 5_000


def rows(bench):
    settings.FIELD_ENCRYPTION_KEY = [OLD]
    users = get_user_model().objects.bulk_create(get_user_model()(username=f"user-{n}") for n in range(NUMBER))
    Connection.objects.bulk_create(
        Connection(
            user=user, issuer="https://example.test", sub=user.username, client_id="x", signed_in_at=timezone.now(),
            access_token=ACCESS, refresh_token=REFRESH,
        )
        for user in users
    )  # fmt: skip
    old, new = Fernet(OLD), Fernet(NEW)
    tokens = [(old.encrypt(ACCESS.encode()), old.encrypt(REFRESH.encode())) for _ in range(NUMBER)]
    orders = itertools.cycle([[NEW, OLD], [OLD, NEW]])

    def rotate():
        settings.FIELD_ENCRYPTION_KEY = next(orders)
        call_command("eprospera_rotate_keys", verbosity=0)
        assert sum(count_outdated(table) for table in tables("default")) == 0

    def bare():
        for pair in tokens:
            for token in pair:
                new.encrypt(old.decrypt(token))

    what = f"Key rotation of {NUMBER:,} connections"
    yield bench.ratio(f"{what}: CPU of bare Fernet ÷ it", bare, rotate, goal=0.7, at_least=True)
