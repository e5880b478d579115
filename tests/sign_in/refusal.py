"""What holds after every refusal, whoever caused it, and the small lies of which the tests are made."""

import threading
import time

from django.contrib.auth import get_user_model
from social_django.models import Association, Partial, UserSocialAuth

from django_eprospera.models import Connection, PendingRevocation
from tests.hostile_provider import Reply
from tests.visitor import text_of

HUGE = "x" * 2_000_000
REFUSALS = {400, 403, 409, 500, 502, 503, 504}


def logged(caplog):
    """What the site logged: without the lines of the visitor's own HTTP library."""
    here = threading.get_ident()
    return "\n".join(caplog.handler.format(record) for record in caplog.records
                     if not (record.thread == here and record.name.startswith("urllib3")))  # fmt: skip


def assert_nothing_happened(visitor, caplog, provider, answer, reason, *, users=0):
    """What holds after every refusal."""
    log = logged(caplog)
    assert answer.status_code in REFUSALS, answer.text
    assert f"sign-in refused: reason={reason} " in log
    assert visitor.whoami() == ""
    assert get_user_model().objects.count() == users
    for model in (UserSocialAuth, Connection, Partial, Association, PendingRevocation):
        assert not model.objects.exists(), model
    shown = text_of(answer)
    assert "Reference" in shown
    assert "no-store" in answer.headers["Cache-Control"]
    for secret in provider.canaries:
        assert secret not in log
        assert secret not in answer.text
    assert "Traceback" not in log


def without(name):
    return lambda claims: {other: value for other, value in claims.items() if other != name}


def changed(**values):
    return lambda claims: claims | values


def moved(name, seconds):
    return lambda claims: claims | {name: time.time() + seconds}


def replied(*args, **kwargs):
    return lambda answer: Reply(*args, **kwargs)


def log_in(visitor, username):
    """A local account, by password, at the admin's door."""
    get_user_model().objects.create_superuser(username, f"{username}@example.test", "pw")
    answer = visitor.post("/admin/login/", {"username": username, "password": "pw"})
    assert answer.status_code == 302
