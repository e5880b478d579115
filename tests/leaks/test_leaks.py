"""Nothing secret or personal is readable in what a site wrote during everything that it does with e-Próspera.

Everything is real and in processes of its own: sandbox, site with DEBUG on and every logger at DEBUG, task worker, commands.
All secrets and all personal data are distinctive. At the end every byte that the site has written anywhere is searched.
"""

import base64
import hashlib
import html
import json
import urllib.parse
import zlib

import pytest

from tests.leaks.canaries import Canaries, core
from tests.leaks.installation import ADMIN, Browser, Installation
from tests.leaks.life import Life

# The user-model fields that EPROSPERA_USER_FIELDS names by default.
CHOSEN = {
    "claim email": {"auth_user.email"},
    "claim given_name": {"auth_user.first_name"},
    "claim family_name": {"auth_user.last_name"},
}
# python-social-auth keeps the state of a pending sign-in with the browser's session, whose key is worth more, and in its table
# of what is still unused. Nonce and PKCE verifier lie there sealed.
PENDING = {"state": {"social_auth_nonce.salt", "django_session.session_data", "cache"}}
# Django's report of a bug in the site's own pipeline shows the address that was asked for. The code in it is spent by then.
# (Its template misses a variable, so its log shows the report once more.)
_REPORTS = {"page /complete/eprospera/ (500)", "mails", "log django.template"}
OWN_BUG = {"state": _REPORTS, "authorization code": _REPORTS}
# Whatever may lie in a column also lies in its file, and in the SQL that wrote it.
ALLOWED = {
    (kind, place)
    for allowed, more in ((CHOSEN, {"database file", "log django.db.backends"}),
                          (PENDING, {"database file", "log django.db.backends"}), (OWN_BUG, set()))
    for kind, places in allowed.items()
    for place in places | more
}  # fmt: skip


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    with Installation(tmp_path_factory.mktemp("installation")) as installation:
        yield installation


@pytest.mark.timeout(900)
def test_after_a_whole_life_nothing_secret_or_personal_is_readable_anywhere(installation):
    life = Life(installation)
    life.sign_ins_that_fail()
    life.sign_in_that_breaks_in_the_sites_own_step()
    life.paused_sign_in()
    life.sign_in()
    life.account()
    life.bugs_of_the_site()
    life.syncs_that_fail()
    life.refreshes()
    life.refresh_that_waits_for_its_commit()
    life.grant_that_ends_and_heals()
    life.review()
    life.disconnect()
    life.deletion()
    life.commands()

    found = life.found | installation.search(installation.canaries)
    leaks = sorted(f"{kind}: {place}" for kind, place in found - ALLOWED)
    assert not leaks, f"{len(leaks)} leaks among {len(installation.canaries)} canaries:\n" + "\n".join(leaks)
    # What is allowed is there: the search has looked where it should.
    assert {(kind, place) for kind, places in CHOSEN.items() for place in places} <= found


def test_what_is_planted_is_found_in_every_place(installation):
    planted = Canaries()
    names = {
        "session": "django_session.session_data", "cache": "cache", "log": "log urllib3.connectionpool",
        "stdout": "output site.txt", "admin history": "django_admin_log.object_repr",
        "task": "django_tasks_database_dbtaskresult.args_kwargs", "media": "media", "spool": "spool",
        "SQL": "log django.db.backends", "cookie": "cookies",
    }  # fmt: skip
    form = {name: planted.add(name, core()) for name in names}
    form["user"] = installation.database.query(f"SELECT id FROM auth_user WHERE username = '{ADMIN}'")[0][0]
    visitor = Browser(installation)
    assert visitor.post("/leaks/plant/", form).status_code == 200
    form["page"] = planted.add("page", core())[::-1]
    assert visitor.post("/leaks/plant/", form).status_code == 500
    expected = set(names.items())
    expected |= {("page", "page /leaks/plant/ (500)"), ("page", "mails")}
    if installation.database.file is not None:
        expected.add(("admin history", "database file"))
    assert sorted(expected - installation.search(planted)) == []
    (installation.home / "spool" / "planted").unlink()


@pytest.mark.parametrize("encoding", [
    "plain", "hexadecimal", "base64", "URL-safe base64 behind one byte", "base64 behind two bytes", "JSON", "percent", "HTML",
    "SHA-256", "base64 of zlib",
])  # fmt: skip
def test_a_canary_is_recognised_in_each_encoding(encoding):
    canaries = Canaries()
    text = canaries.name("name")
    plain = text.encode()
    worn = {
        "plain": plain,
        "hexadecimal": plain.hex().encode(),
        "base64": base64.b64encode(plain),
        "URL-safe base64 behind one byte": base64.urlsafe_b64encode(b"x" + plain + b"yy"),
        "base64 behind two bytes": base64.b64encode(b"xx" + plain + b"y"),
        "JSON": json.dumps(text).encode(),
        "percent": urllib.parse.quote_plus(text).encode(),
        "HTML": html.escape(text).encode(),
        "SHA-256": hashlib.sha256(plain).hexdigest().encode(),
        "base64 of zlib": base64.b64encode(b"x" * 30 + zlib.compress(b"some words around it: " + plain)),
    }[encoding]
    assert canaries.found_in(b"before " + worn + b" after") == {"name"}
    assert not canaries.found_in(b"before " + worn[::-1] + b" after")
