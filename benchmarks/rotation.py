"""How fast does `eprospera_rotate_keys` go, and what share of the bare Fernet bound is that?

    python -m benchmarks rotation

Makes the rows of 100,000 connections in the database that DATABASE_URL names (made for this, and empty), rotates, kills the
run twice by SIGKILL, goes on, and opens every value. The bound is what one process needs to open and seal the same values
without a database.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = "ycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJyck=", "ysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKyso="
# The size of an RS256 access token and of an opaque refresh token.
ACCESS, REFRESH = "a" * 900, "rt_" + "r" * 43


def rotate():
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from benchmarks.rotation import command; command()"], cwd=ROOT
    )


def set_up(keys):
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from django.conf import settings

    settings.FIELD_ENCRYPTION_KEY = keys
    django.setup()


def command():
    set_up([NEW, OLD])
    from django.core.management import call_command

    call_command("eprospera_rotate_keys")


def make_rows(number):
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from django_eprospera.models import Connection

    user_model, now = get_user_model(), timezone.now()
    for start in range(0, number, 5_000):
        users = user_model.objects.bulk_create(
            user_model(username=uuid.uuid4().hex) for _ in range(min(5_000, number - start))
        )
        Connection.objects.bulk_create(
            Connection(
                user=user, issuer="https://example.test", sub=user.username, client_id="x", signed_in_at=now,
                access_token=ACCESS, refresh_token=REFRESH,
            )
            for user in users
        )  # fmt: skip


def bound(number):
    """Seconds that opening and sealing the tokens of `number` connections takes with Fernet alone."""
    from cryptography.fernet import Fernet

    old, new = Fernet(OLD), Fernet(NEW)
    sample = min(number, 20_000)
    tokens = [(old.encrypt(ACCESS.encode()), old.encrypt(REFRESH.encode())) for _ in range(sample)]
    start = time.perf_counter()
    for access, refresh in tokens:
        new.encrypt(old.decrypt(access))
        new.encrypt(old.decrypt(refresh))
    return (time.perf_counter() - start) * number / sample


def left():
    from django_eprospera.rotation import count_outdated, tables

    return sum(count_outdated(table) for table in tables("default"))


def main(number):
    set_up([OLD])
    from django.conf import settings
    from django.core.management import call_command

    from django_eprospera.models import Connection

    call_command("migrate", verbosity=0)
    Connection.objects.all().delete()
    make_rows(number)
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]

    killed = []
    for share in (0.75, 0.5):
        run = rotate()
        while left() > number * share and run.poll() is None:
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.wait()
        killed.append(number - left())
    assert rotate().wait() == 0
    assert left() == 0

    settings.FIELD_ENCRYPTION_KEY = [NEW]
    opened = sum(
        row.access_token == ACCESS and row.refresh_token == REFRESH
        for row in Connection.objects.iterator(chunk_size=2_000)
    )
    assert opened == number

    settings.FIELD_ENCRYPTION_KEY = [OLD, NEW]  # back again, at one go and alone on the machine: the figure
    bare = bound(number)
    start = time.perf_counter()
    call_command("eprospera_rotate_keys")
    took = time.perf_counter() - start
    figures = {
        "connections": number,
        "rotated when killed": killed,
        "opened after resuming": opened,
        "seconds": round(took, 1),
        "rows per second": round(number / took),
        "bare Fernet, rows per second": round(number / bare),
        "share of the bound": round(bare / took, 2),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
