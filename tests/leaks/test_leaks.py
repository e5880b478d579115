"""A whole life with e-Próspera, and then: is anything secret or personal readable in what the site has written?

Everything is real and in processes of its own: sandbox, site with DEBUG on and every logger at DEBUG, task worker, commands. All
secrets and all personal data are distinctive. At the end every byte that the site has written anywhere is searched.
"""

import base64
import hashlib
import html
import json
import re
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.leaks.canaries import Canaries, core
from tests.leaks.house import ADMIN, Browser, House
from tests.leaks.wire import Reply, until
from tests.sandbox_process import LUCIA, SAMUEL

# The user-model fields that EPROSPERA_USER_FIELDS names by default.
CHOSEN = {
    "claim email": {"auth_user.email"},
    "claim given_name": {"auth_user.first_name"},
    "claim family_name": {"auth_user.last_name"},
}
# python-social-auth keeps the state of a pending sign-in with the browser's session, whose key is worth more, and in its table of
# what is still unused. Nonce and PKCE verifier lie there sealed.
PENDING = {"state": {"social_auth_nonce.salt", "django_session.session_data", "cache"}}
# Django's report of a bug in the site's own pipeline shows the address that was asked for. The code in it is spent by then.
OWN_BUG = dict.fromkeys(("state", "authorization code"), {"page /complete/eprospera/ (500)", "mails"})
# Whatever may lie in a column also lies in its file, and in the SQL that wrote it.
ALLOWED = {
    (kind, place)
    for allowed, more in ((CHOSEN, {"database file", "log django.db.backends"}),
                          (PENDING, {"database file", "log django.db.backends"}), (OWN_BUG, set()))
    for kind, places in allowed.items()
    for place in places | more
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with House(tmp_path_factory.mktemp("house")) as house:
        yield house


def ways_to_fail(canaries):
    """Answers in place of the provider's: (name, function of the request), most of them full of what nobody may see."""

    def everything(request):
        personal = [value.decode("latin-1") for value, kind in list(canaries.kinds.items()) if "picture" not in kind]
        return f"{request.echo()}\n{' '.join(personal)}".encode("latin-1", "replace")

    def quoted(request):
        return everything(request).replace(b"\\", b"/").replace(b'"', b"'").replace(b"\n", b" ").replace(b"\r", b" ").replace(b"\t", b" ")

    def as_json(form):
        return lambda request: form.encode().replace(b"ECHO", re.sub(rb"[^\x20-\x7e]", b"?", quoted(request)))

    error, described = as_json('{"error": "ECHO"}'), as_json('{"error": "invalid_request", "error_description": "ECHO"}')
    listed, mistaken = as_json('["ECHO"]'), as_json(
        '{"sub": {"ECHO": 1}, "access_token": ["ECHO"], "issuer": "ECHO", "keys": "ECHO", "name": {"ECHO": 1}, "data": ["ECHO"],'
        ' "wasEverResident": "ECHO", "id": ["ECHO"], "documents": "ECHO"}'
    )
    return {
        "HTML": lambda request: Reply(502, b"<html><pre>" + everything(request), "text/html"),
        "500": lambda request: Reply(500, error(request)),
        "400": lambda request: Reply(400, described(request)),
        "401": lambda request: Reply(401, error(request)),
        "a list": lambda request: Reply(200, listed(request)),
        "wrong types": lambda request: Reply(200, mistaken(request)),
        "not JSON": lambda request: Reply(200, everything(request)),
        "stall": lambda request: Reply(200, b"", stall=30),
    }


def at(path, reply):
    """Misbehave where the path begins like this."""
    return lambda request: reply(request) if request.path.startswith(path) else None


class Life:
    """What happens to two people, a member of staff and their provider; `found` is what a look at passing places has shown."""

    def __init__(self, house):
        self.house, self.wire, self.found, self.shown = house, house.wire, set(), set()
        self.ways = ways_to_fail(house.canaries)
        self.lucia, self.staff = Browser(house), Browser(house)

    def look(self):
        """At what is overwritten or erased later."""
        for place, data in self.house.passing_places():
            self.found |= {(kind, place) for kind in self.house.canaries.found_in(data)}

    def ok(self, browser, path, status=200):
        page = browser.get(path)
        assert page.status_code == status, f"{path}: {page.status_code}"
        return page

    # Signing in

    def sign_ins_that_fail(self):
        sandbox = self.house.sandbox
        assert Browser(self.house).return_from_provider(answer="deny").status_code == 403
        jwks = sandbox.get("/.well-known/openid-configuration").json()["jwks_uri"].removeprefix(self.wire.url)
        for path in ("/.well-known/", "/api/oauth/token", jwks, "/api/oauth/userinfo"):
            for way, reply in self.ways.items():
                visitor = Browser(self.house)
                self.ok(visitor, "/leaks/forget/")
                self.wire.misbehave = at(path, reply)
                answer = visitor.return_from_provider()
                self.wire.misbehave = at("/nowhere", reply)
                assert answer.status_code in {403, 502, 503, 504}, f"{path} {way}: {answer.status_code}"
        for tampered in ({"id_token": {"claims": {"nonce": core()}}}, {"id_token": {"key": "foreign"}}, {"userinfo": {"sub": core()}}):
            sandbox.control("tamper", "POST", **tampered)
            assert Browser(self.house).return_from_provider().status_code == 502
            sandbox.control("tamper", "DELETE")

    def sign_in_that_breaks_in_the_sites_own_step(self):
        visitor = Browser(self.house)
        visitor.http.cookies.set("fail", "1")
        assert visitor.return_from_provider().status_code == 500

    def paused_sign_in(self):
        visitor = Browser(self.house)
        visitor.http.cookies.set("pause", "1")
        assert visitor.return_from_provider().headers["Location"] == "/leaks/agree/"
        assert self.house.database.query("SELECT count(*) FROM social_auth_partial")[0][0] == 1
        self.look()
        # Abandoned: it stays in its table.

    def sign_in(self):
        self.lucia.http.cookies.set("pause", "1")
        assert self.lucia.return_from_provider().headers["Location"] == "/leaks/agree/"
        done = self.ok(self.lucia, "/complete/eprospera/?agreed=1", 302)
        assert done.headers["Location"].startswith("/account/")
        self.lucia.http.cookies.set("pause", None)
        self.look()
        self.house.finish_tasks()
        self.look()

    # Using it

    def account(self):
        page = self.ok(self.lucia, "/account/")
        canaries = self.house.canaries.found_in(page.content)
        assert {"given name", "name of a company", "name of a document"} <= canaries, "the account page shows no data: nothing was synced"
        files = set(re.findall(r"/eprospera/(?:image|document)/[^\"']+", page.text))
        kinds = [self.ok(self.lucia, path).headers["Content-Type"] for path in files]
        assert {"image/jpeg", "application/pdf"} <= set(kinds)
        assert {"picture", "document"} <= set(self.house.canaries.kinds.values())
        for path in ("/members/", "/vault/", "/vault/withdraw/"):
            self.lucia.get(path)
        assert self.lucia.post("/eprospera/refresh/").status_code == 302

    def bugs_of_the_site(self):
        for path in ("token-then-bug", "person-then-bug", "answer-then-bug", "sync-in-a-transaction"):
            self.ok(self.lucia, f"/leaks/{path}/", 500)
        for file in sorted((self.house.home / "media" / "eprospera").iterdir()):
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        self.ok(self.lucia, "/leaks/file/", 500)
        for file in sorted((self.house.home / "media" / "eprospera").iterdir()):
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        self.ok(self.lucia, "/leaks/file/")

    def syncs_that_fail(self):
        for way, reply in self.ways.items():
            # One that stalls is enough: each is waited for.
            self.wire.misbehave = at("/api/v1/me/natural-person/residency" if way == "stall" else "/api/v1/", reply)
            self.lucia.get("/leaks/ask/")
            self.ok(self.lucia, "/leaks/enqueue/")
            self.house.finish_tasks()
        for way in ("HTML", "not JSON"):
            self.wire.misbehave = at("/files/", self.ways[way])
            self.ok(self.lucia, "/leaks/enqueue/")
            self.house.finish_tasks()
        assert self.house.manage("eprospera_sync", "--all") in {0, 1}
        self.wire.misbehave = lambda _request: None
        self.look()
        self.ok(self.lucia, "/leaks/enqueue/")
        self.house.finish_tasks()

    def refreshes(self):
        """Each of them: the access token is over, as after an hour."""
        self.expire()
        self.ok(self.lucia, "/leaks/token/")
        for way in ("HTML", "500", "401", "stall", "wrong types"):
            self.expire()
            self.wire.misbehave = at("/api/oauth/token", self.ways[way])
            self.ok(self.lucia, "/leaks/token/", 500)
            self.ok(self.lucia, "/leaks/sync-in-a-transaction/", 500)
            self.wire.misbehave = lambda _request: None
        self.look()
        self.ok(self.lucia, "/leaks/token/")

    def expire(self):
        self.house.database.query("UPDATE django_eprospera_connection SET access_token_expires_at = '2020-01-01 00:00:00'")

    def refresh_that_waits_for_its_commit(self):
        """The database holds up every write: the new token lies in the spool."""
        self.expire()
        spool, release = self.house.home / "spool", []
        self.wire.arriving = lambda request, _reply: (
            release.append(self.house.database.lock_for_writing()) if request.path == "/api/oauth/token" and not release else None
        )
        thread = in_thread(lambda: self.ok(self.lucia, "/leaks/token/"))
        until(lambda: any(spool.iterdir()), "a file in the spool")
        until(lambda: any(file.stat().st_size for file in spool.iterdir()), "its content")
        self.look()
        release[0]()
        self.wire.arriving = lambda *_: None
        thread()
        assert not any(spool.iterdir())

    def grant_that_ends_and_heals(self):
        self.house.sandbox.control("revoke", sub=LUCIA)
        self.expire()
        self.ok(self.lucia, "/leaks/token/", 500)
        self.look()
        self.ok(self.lucia, "/account/")
        self.lucia.signs_in()
        self.house.finish_tasks()
        self.ok(self.lucia, "/leaks/token/")

    # The staff

    def review(self):
        staff = self.staff.as_admin()
        for model in ("naturalperson", "residency", "idverification", "legalentity", "entitydocument", "connection", "review",
                      "decision", "auditentry", "entityconsent", "pendingrevocation"):  # fmt: skip
            self.masked(staff, model)
        staff.post("/admin/django_eprospera/review/find/", {"sought": self.house.permits[LUCIA]})
        staff.post("/admin/django_eprospera/review/find/", {"sought": "nobody@example.test"})
        reason = self.house.canaries.name("reason of a decision")
        for outcome in ("rejected", "reopened", "rejected"):
            (review,) = self.house.database.query("SELECT id FROM django_eprospera_review WHERE subject_kind = 'person'")[0]
            path = f"/admin/django_eprospera/review/{review}/change/"
            page = self.ok(staff, path)
            assert "given name" in self.house.canaries.found_in(page.content)
            for file in set(re.findall(r"/admin/django_eprospera/review/(?:picture|document)/[^\"']+", page.text)):
                self.ok(staff, file)
            seen = re.search(r'name="seen" value="([^"]+)', page.text)[1]
            done = staff.post(path, {"outcome": outcome, "reason": reason, "seen": seen})
            assert done.status_code == 302, "the decision was not taken"
            stale = staff.post(path, {"outcome": outcome, "reason": reason, "seen": seen})
            assert stale.status_code == 200
        self.masked(staff, "decision")
        assert {"given name", "permit number", "date of the check", "name of a company", "reason of a decision"} <= self.shown
        assert "reason of a decision" in self.house.canaries.found_in(self.ok(self.lucia, "/account/").content)
        self.look()

    def masked(self, staff, model):
        """List and pages of a model, as they are before anybody asks for more."""
        folder = f"/admin/django_eprospera/{model}/"
        page = staff.get(folder)
        if page.status_code == 404:
            return
        self.house.pages.append((f"masked list of {model}", page.content))
        for path in sorted(set(re.findall(rf'{folder}[^/"]+/change/', page.text))):
            if model == "review":
                continue  # the review screen is where they are shown
            page = self.ok(staff, path)
            self.house.pages.append((f"masked page of {model}", page.content))
            if "show/" in page.text:
                shown = staff.post(path.replace("/change/", "/show/"))
                assert shown.status_code == 200
                self.shown |= self.house.canaries.found_in(shown.content)

    # The end

    def disconnect(self):
        self.wire.misbehave = at("/api/oauth/revoke", self.ways["500"])
        assert self.lucia.post("/eprospera/disconnect/").status_code == 302
        self.house.finish_tasks()
        assert self.house.database.query("SELECT count(*) FROM django_eprospera_pendingrevocation")[0][0]
        self.look()
        self.wire.misbehave = lambda _request: None
        self.house.database.query("UPDATE django_eprospera_pendingrevocation SET not_before = '2020-01-01 00:00:00'")

    def deletion(self):
        samuel = Browser(self.house).signs_in(SAMUEL)
        self.house.finish_tasks()
        self.ok(samuel, "/account/")
        (user,) = self.house.database.query("SELECT user_id FROM django_eprospera_connection")[0]
        path = f"/admin/auth/user/{user}/delete/"
        self.ok(self.staff, path)
        assert self.staff.post(path, {"post": "yes"}).status_code == 302
        self.house.finish_tasks()
        assert not self.house.database.query("SELECT 1 FROM django_eprospera_connection")

    def commands(self):
        for command in (["eprospera_audit"], ["eprospera_audit", "--verify"], ["eprospera_keep_alive"], ["eprospera_sync", "--all"],
                        ["eprospera_prune"], ["eprospera_rotate_keys", "--check"], ["check"]):  # fmt: skip
            assert self.house.manage(*command) == 0, command


def test_after_a_whole_life_nothing_secret_or_personal_is_readable_anywhere(house):
    life = Life(house)
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

    found = life.found | house.search(house.canaries)
    leaks = sorted(f"{kind}: {place}" for kind, place in found - ALLOWED)
    assert not leaks, f"{len(leaks)} leaks among {len(house.canaries)} canaries:\n" + "\n".join(leaks)
    # What is allowed is there: the search has looked where it should.
    assert {(kind, place) for kind, places in CHOSEN.items() for place in places} <= found


def test_what_is_planted_is_found_in_every_place(house):
    planted = Canaries()
    names = {
        "session": "django_session.session_data", "cache": "cache", "log": "log urllib3.connectionpool",
        "stdout": "output site.txt", "admin history": "django_admin_log.object_repr",
        "task": "django_tasks_database_dbtaskresult.args_kwargs", "media": "media", "spool": "spool",
        "SQL": "log django.db.backends", "cookie": "cookies",
    }  # fmt: skip
    form = {name: planted.add(name, core()) for name in names}
    form["user"] = house.database.query(f"SELECT id FROM auth_user WHERE username = '{ADMIN}'")[0][0]
    visitor = Browser(house)
    assert visitor.post("/leaks/plant/", form).status_code == 200
    form["page"] = planted.add("page", core())[::-1]
    assert visitor.post("/leaks/plant/", form).status_code == 500
    expected = {(name, place) for name, place in names.items()}
    expected |= {("page", "page /leaks/plant/ (500)"), ("page", "mails")}
    if house.database.file is not None:
        expected.add(("admin history", "database file"))
    assert sorted(expected - house.search(planted)) == []
    (house.home / "spool" / "planted").unlink()


@pytest.mark.parametrize("disguise", [
    "plain", "hexadecimal", "base64", "URL-safe base64 behind one byte", "base64 behind two bytes", "JSON", "percent", "HTML",
    "SHA-256", "base64 of zlib",
])  # fmt: skip
def test_a_canary_is_recognised_in_disguise(disguise):
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
    }[disguise]
    assert canaries.found_in(b"before " + worn + b" after") == {"name"}
    assert not canaries.found_in(b"before " + worn[::-1] + b" after")


def in_thread(work):
    """Start `work`; the returned function waits for it and raises what it raised."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return lambda: future.result(timeout=60)
