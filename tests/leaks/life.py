"""What happens to two people, a member of staff and their provider, from the first denied consent to the deletion of a user."""

import re
from concurrent.futures import ThreadPoolExecutor

from tests.leaks.broken_answers import at, behave, ways_to_fail
from tests.leaks.canaries import core
from tests.leaks.installation import Browser
from tests.leaks.wire import until
from tests.sandbox_process import LUCIA, SAMUEL


class Life:
    """What happens to two people, a member of staff and their provider; `found` is what a look at passing places has shown."""

    def __init__(self, installation):
        self.installation, self.wire, self.found, self.shown = installation, installation.wire, set(), set()
        self.ways = ways_to_fail(installation.canaries)
        self.lucia, self.staff = Browser(installation), Browser(installation)

    def look(self):
        """At what is overwritten or erased later."""
        for place, data in self.installation.passing_places():
            self.found |= {(kind, place) for kind in self.installation.canaries.found_in(data)}

    def ok(self, browser, path, status=200):
        page = browser.get(path)
        assert page.status_code == status, f"{path}: {page.status_code}"
        return page

    # Signing in

    def sign_ins_that_fail(self):
        sandbox = self.installation.sandbox
        assert Browser(self.installation).return_from_provider(answer="deny").status_code == 403
        jwks = sandbox.get("/.well-known/openid-configuration").json()["jwks_uri"].removeprefix(self.wire.url)
        for path in ("/.well-known/", "/api/oauth/token", jwks, "/api/oauth/userinfo"):
            for way, reply in self.ways.items():
                visitor = Browser(self.installation)
                self.ok(visitor, "/leaks/forget/")
                self.wire.misbehave = at(path, reply)
                answer = visitor.return_from_provider()
                self.wire.misbehave = behave
                assert answer.status_code in {403, 500, 502, 503, 504}, f"{path} {way}: {answer.status_code}"
        lies = (
            ({"id_token": {"claims": {"nonce": core()}}}, 400),  # the code may be one that somebody else was given
            ({"id_token": {"key": "foreign"}}, 502),
            ({"userinfo": {"sub": core()}}, 502),
        )
        for tampered, status in lies:
            sandbox.control("tamper", "POST", **tampered)
            assert Browser(self.installation).return_from_provider().status_code == status
            sandbox.control("tamper", "DELETE")

    def sign_in_that_breaks_in_the_sites_own_step(self):
        visitor = Browser(self.installation)
        visitor.http.cookies.set("fail", "1")
        assert visitor.return_from_provider().status_code == 500

    def paused_sign_in(self):
        visitor = Browser(self.installation)
        visitor.http.cookies.set("pause", "1")
        assert visitor.return_from_provider().headers["Location"] == "/leaks/agree/"
        assert self.installation.database.query("SELECT count(*) FROM social_auth_partial")[0][0] == 1
        self.look()
        # Abandoned: it stays in its table.

    def sign_in(self):
        self.lucia.http.cookies.set("pause", "1")
        assert self.lucia.return_from_provider().headers["Location"] == "/leaks/agree/"
        done = self.ok(self.lucia, "/complete/eprospera/?agreed=1", 302)
        assert done.headers["Location"].startswith("/account/")
        self.lucia.http.cookies.set("pause", None)
        self.look()
        self.installation.finish_tasks()
        self.look()

    # Using it

    def account(self):
        page = self.ok(self.lucia, "/account/")
        shown = self.installation.canaries.found_in(page.content)
        assert {"given name", "name of a company", "name of a document"} <= shown, "nothing was synced"
        files = set(re.findall(r"/eprospera/(?:image|document)/[^\"']+", page.text))
        kinds = [self.ok(self.lucia, path).headers["Content-Type"] for path in files]
        assert {"image/jpeg", "application/pdf"} <= set(kinds)
        assert {"picture", "document"} <= set(self.installation.canaries.kinds.values())
        for path in ("/members/", "/vault/", "/vault/withdraw/"):
            self.lucia.get(path)
        assert self.lucia.post("/eprospera/refresh/").status_code == 302

    def bugs_of_the_site(self):
        for path in ("token-then-bug", "person-then-bug", "answer-then-bug", "sync-in-a-transaction"):
            self.ok(self.lucia, f"/leaks/{path}/", 500)
        for file in sorted((self.installation.home / "media" / "eprospera").iterdir()):
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        self.ok(self.lucia, "/leaks/file/", 500)
        for file in sorted((self.installation.home / "media" / "eprospera").iterdir()):
            whole = file.read_bytes()
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        self.ok(self.lucia, "/leaks/file/")

    def syncs_that_fail(self):
        for way in self.ways.keys() - {"HTML"}:  # as a 5xx is, it is asked for again and again
            reply = self.ways[way]
            # One that stalls is enough: each is waited for.
            self.wire.misbehave = at("/api/v1/me/natural-person/residency" if way == "stall" else "/api/v1/", reply)
            self.lucia.get("/leaks/ask/")
            self.ok(self.lucia, "/leaks/enqueue/")
            self.installation.finish_tasks()
        for way in ("HTML", "not JSON"):
            self.wire.misbehave = at("/files/", self.ways[way])
            self.ok(self.lucia, "/leaks/enqueue/")
            self.installation.finish_tasks()
        assert self.installation.manage("eprospera_sync", "--all") in {0, 1}
        self.wire.misbehave = behave
        self.look()
        self.ok(self.lucia, "/leaks/enqueue/")
        self.installation.finish_tasks()

    def refreshes(self):
        """Each of them: the access token is over, as after an hour."""
        self.expire()
        self.ok(self.lucia, "/leaks/token/")
        for way in ("HTML", "500", "401", "stall", "wrong types"):
            self.expire()
            self.wire.misbehave = at("/api/oauth/token", self.ways[way])
            self.ok(self.lucia, "/leaks/token/", 500)
            self.ok(self.lucia, "/leaks/sync-in-a-transaction/", 500)
            self.wire.misbehave = behave
        self.look()
        self.ok(self.lucia, "/leaks/token/")

    def expire(self):
        self.installation.database.query(
            "UPDATE django_eprospera_connection SET access_token_expires_at = '2020-01-01 00:00:00'"
        )

    def refresh_that_waits_for_its_commit(self):
        """The database holds up every write: the new token lies in the spool."""
        self.expire()
        spool, release = self.installation.home / "spool", []

        def lock(request, _reply):
            if request.path == "/api/oauth/token" and not release:
                release.append(self.installation.database.lock_for_writing())

        self.wire.arriving = lock
        thread = in_thread(lambda: self.ok(self.lucia, "/leaks/token/"))
        until(lambda: any(spool.iterdir()), "a file in the spool")
        until(lambda: any(file.read_bytes().strip(b"\0") for file in spool.iterdir()), "its content")
        self.look()
        release[0]()
        self.wire.arriving = lambda *_: None
        thread()
        assert not any(spool.iterdir())

    def grant_that_ends_and_heals(self):
        self.installation.sandbox.control("revoke", sub=LUCIA)
        self.expire()
        self.ok(self.lucia, "/leaks/token/", 500)
        self.look()
        self.ok(self.lucia, "/account/")
        self.lucia.signs_in()
        self.installation.finish_tasks()
        self.ok(self.lucia, "/leaks/token/")

    # The staff

    def review(self):
        staff = self.staff.as_admin()
        for model in ("naturalperson", "residency", "idverification", "legalentity", "entitydocument", "connection", "review",
                      "decision", "auditentry", "entityconsent", "pendingrevocation"):  # fmt: skip
            self.masked(staff, model)
        staff.post("/admin/django_eprospera/review/find/", {"sought": self.installation.permits[LUCIA]})
        staff.post("/admin/django_eprospera/review/find/", {"sought": "nobody@example.test"})
        reason = self.installation.canaries.name("reason of a decision")
        for outcome in ("rejected", "reopened", "rejected"):
            (review,) = self.installation.database.query(
                "SELECT id FROM django_eprospera_review WHERE subject_kind = 'person'"
            )[0]
            path = f"/admin/django_eprospera/review/{review}/change/"
            page = self.ok(staff, path)
            assert "given name" in self.installation.canaries.found_in(page.content)
            for file in set(re.findall(r"/admin/django_eprospera/review/(?:picture|document)/[^\"']+", page.text)):
                self.ok(staff, file)
            seen = re.search(r'name="seen" value="([^"]+)', page.text)[1]
            done = staff.post(path, {"outcome": outcome, "reason": reason, "seen": seen})
            assert done.status_code == 302, "the decision was not taken"
            stale = staff.post(path, {"outcome": outcome, "reason": reason, "seen": seen})
            assert stale.status_code == 200
        self.masked(staff, "decision")
        assert {
            "given name",
            "permit number",
            "date of the check",
            "name of a company",
            "reason of a decision",
        } <= self.shown
        assert "reason of a decision" in self.installation.canaries.found_in(self.ok(self.lucia, "/account/").content)
        self.look()

    def masked(self, staff, model):
        """List and pages of a model, as they are before anybody asks for more."""
        folder = f"/admin/django_eprospera/{model}/"
        page = staff.get(folder)
        if page.status_code == 404:
            return
        self.installation.pages.append((f"masked list of {model}", page.content))
        for path in sorted(set(re.findall(rf'{folder}[^/"]+/change/', page.text))):
            if model == "review":
                continue  # the review screen is where they are shown
            page = self.ok(staff, path)
            self.installation.pages.append((f"masked page of {model}", page.content))
            if "show/" in page.text:
                shown = staff.post(path.replace("/change/", "/show/"))
                assert shown.status_code == 200
                self.shown |= self.installation.canaries.found_in(shown.content)

    # The end

    def disconnect(self):
        self.wire.misbehave = at("/api/oauth/revoke", self.ways["500"])
        assert self.lucia.post("/eprospera/disconnect/").status_code == 302
        self.installation.finish_tasks()
        assert self.installation.database.query("SELECT count(*) FROM django_eprospera_pendingrevocation")[0][0]
        self.look()
        self.wire.misbehave = behave
        self.installation.database.query(
            "UPDATE django_eprospera_pendingrevocation SET not_before = '2020-01-01 00:00:00'"
        )

    def deletion(self):
        samuel = Browser(self.installation).signs_in(SAMUEL)
        self.installation.finish_tasks()
        self.ok(samuel, "/account/")
        (user,) = self.installation.database.query("SELECT user_id FROM django_eprospera_connection")[0]
        path = f"/admin/auth/user/{user}/delete/"
        self.ok(self.staff, path)
        assert self.staff.post(path, {"post": "yes"}).status_code == 302
        self.installation.finish_tasks()
        assert not self.installation.database.query("SELECT 1 FROM django_eprospera_connection")

    def commands(self):
        for command in ("audit", "audit --verify", "keep_alive", "sync --all", "prune", "rotate_keys --check"):
            assert self.installation.manage(*f"eprospera_{command}".split()) == 0, command


def in_thread(work):
    """Start `work`; the returned function waits for it and raises what it raised."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return lambda: future.result(timeout=60)
