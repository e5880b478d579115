"""Sandbox, wire, site and worker as processes of their own, with everything they may leave anything in below one folder."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import requests
from cryptography.fernet import Fernet

from tests.demo_process import ROOT, free_ports
from tests.leaks.canaries import Canaries, core, digits
from tests.leaks.database import Database
from tests.leaks.wire import Wire, until
from tests.sandbox_process import LUCIA, SAMUEL, SandboxProcess
from tests.visitor import Visitor, query_of

ADMIN = "leaks-admin"


class Browser(Visitor):
    """A visitor whose pages are kept: those that went wrong, and those that have to hold nothing personal."""

    def __init__(self, installation):
        super().__init__(installation.site)
        self.installation = installation
        self.http.hooks["response"].append(self._keep)

    def _keep(self, response, *_, **__):
        if not response.url.startswith(self.installation.site):
            return
        pages, path = self.installation.pages, response.request.path_url.partition("?")[0]
        if response.status_code >= 400:
            pages.append((f"page {path} ({response.status_code})", response.content))
        location = response.headers.get("Location", "")
        if not location.startswith(self.installation.wire.url):  # what the provider is told is for its address
            pages.append(("redirect", location.encode()))
        pages += [("cookies", each.value.encode()) for each in response.cookies if each.value]

    def csrf_token(self):
        page = self.http.get(self.absolute("/eprospera/confirm-sign-in/"), timeout=60)
        return re.search(r'csrfmiddlewaretoken" value="([^"]+)', page.text)[1]

    def return_from_provider(self, persona=LUCIA, *, answer="allow", **fields):
        """From the button to the callback; where the begin fails already, that answer."""
        begun = self.begin(**fields)
        if begun.status_code != 302:
            return begun
        asked = query_of(begun.headers["Location"])
        return self.get("/complete/eprospera/", params=self.installation.sandbox.walk(asked, persona, answer=answer))

    def signs_in(self, persona=LUCIA, **fields):
        done = self.return_from_provider(persona, **fields)
        assert done.status_code == 302, done.text
        return self

    def as_admin(self):
        page = self.http.get(self.absolute("/admin/login/"), timeout=60)
        token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', page.text)[1]
        form = {
            "username": ADMIN,
            "password": self.installation.admin_password,
            "csrfmiddlewaretoken": token,
            "next": "/admin/",
        }
        done = self.http.post(self.absolute("/admin/login/"), data=form, allow_redirects=False, timeout=60)
        assert done.status_code == 302, done.text
        return self


class Installation:
    """`with Installation(folder) as installation:`; `installation.search(canaries)` returns what is found where."""

    def __init__(self, home):
        self.home, self.canaries, self.pages, self.children = home, Canaries(), [], []
        for name in ("logs", "mails", "cache", "media", "spool", "output"):
            (home / name).mkdir(mode=0o700)
        self.database = Database(home)
        add = self.canaries.add
        self.client_secret = add("client secret", f"{core(20)} %+&=/ñ")
        self.key = add("encryption key", Fernet.generate_key().decode())
        self.secret_key = add("SECRET_KEY", core(50))
        self.admin_password = add("password of staff", core(20))
        port = free_ports(1)[0]
        self.site = f"http://127.0.0.1:{port}"
        self.wire = Wire(self.canaries, self._company_names())
        self.environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | {
            "DJANGO_SETTINGS_MODULE": "tests.leaks.site_settings", "LEAKS_HOME": str(home), "MEDIA_ROOT": str(home / "media"),
            "DATABASE_URL": self.database.url, "SECRET_KEY": self.secret_key, "FIELD_ENCRYPTION_KEY": self.key,
            "EPROSPERA_BASE_URL": self.wire.url, "EPROSPERA_CLIENT_ID": "leaks-client",
            "EPROSPERA_CLIENT_SECRET": self.client_secret, "DJANGO_SUPERUSER_PASSWORD": self.admin_password,
            "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.sandbox = SandboxProcess(
            port=free_ports(1)[0], client_id="leaks-client", client_secret=self.client_secret,
            redirect_uris=[f"{self.site}/complete/eprospera/"], issuer=self.wire.url, access_token_seconds=3600,
        )  # fmt: skip
        self._port = port

    def __enter__(self):
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _open(self):
        self.sandbox.start()
        self.wire.upstream = ("127.0.0.1", int(self.sandbox.command[self.sandbox.command.index("--port") + 1]))
        self._dress_personas()
        self.manage("migrate", "--verbosity", "0")
        self.manage("createsuperuser", "--noinput", "--username", ADMIN, "--email", "staff@example.test")
        self.start_site()
        self.start_worker()

    def close(self):
        for child in reversed(self.children):
            self.stop(child)
        self.sandbox.stop()
        self.wire.stop()
        self.database.drop()

    # Processes

    def start_site(self):
        child = self._start("site", "manage.py", "runserver", "--noreload", f"127.0.0.1:{self._port}")
        until(lambda: child.poll() is not None or _answers(self.site), "the site")
        assert child.poll() is None, self._output("site").read_text()

    def start_worker(self):
        self._start("worker", "manage.py", "db_worker", "--interval", "0.1", "--no-reload")

    def _start(self, name, *command):
        with self._output(name).open("ab") as output:
            child = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT)  # fmt: skip
        self.children.append(child)
        return child

    def stop(self, child):
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def manage(self, *command):
        """Run a command of the site to its end; what it says is kept. Returns its exit code."""
        child = self._start(command[0], "manage.py", *command)
        return child.wait(120)

    def _output(self, name):
        return self.home / "output" / f"{name}.txt"

    def finish_tasks(self):
        """Wait until the worker has done everything that waits."""
        waiting = "SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status IN ('READY', 'RUNNING')"
        until(lambda: self.database.query(waiting)[0][0] == 0, "the worker")

    # What is distinctive

    def _company_names(self):
        named = {
            "name of a company": [b"Invented Kites", b"Make-Believe Reef Surveys", b"Faroles de Papel"],
            "address of a company": [b"Calle Inventada 12", b"Playa Ficticia 1"],
            "name of a document": [b"Certificate of Organization", b"Certificate of Incorporation"],
        }
        aliases = {each: self.canaries.add(kind, core(14)).encode() for kind, given in named.items() for each in given}
        for rpn in (b"80000000007731", b"80000000007748", b"80000000007755"):
            aliases[rpn] = self.canaries.add("permit number of a company", digits(14)).encode()
        return aliases

    def _dress_personas(self):
        name, add = self.canaries.name, self.canaries.add
        self.permits = {}
        for sub in (LUCIA, SAMUEL):
            self.permits[sub] = add("permit number", digits(14))
            address = {
                part: name(f"address: {part}") for part in ("line1", "line2", "city", "state", "postalCode", "country")
            }
            changes = {
                "claims": {"name": name("claim name"), "given_name": name("claim given_name"),
                           "family_name": name("claim family_name"), "email": add("claim email", f"{core()}@example.test")},
                "person": {"name": name("name"), "givenName": name("given name"), "surname": name("surname"),
                           "residentPermitNumber": self.permits[sub], "countryOfBirth": name("country of birth"),
                           "citizenships": [name("citizenship"), name("citizenship")], "sex": name("sex"), "address": address,
                           "dateOfBirth": "1907-03-19T00:00:00.000Z", "phoneNumber": add("phone number", "+" + digits(12))},
                "residency": {"activeResidency": {"effectiveDate": "1987-06-05T04:03:02.000Z", "terminationDate": None,
                              "residencyType": name("residency type"), "version": name("version of the agreement")}},
                "check": {"id": add("ID of the check", core()), "type": name("method of the check"),
                          "documentType": name("document type"), "date": "1997-08-07T06:05:04.000Z"},
            }  # fmt: skip
            self.sandbox.control(f"personas/{sub}", "POST", **changes)
        for kind, values in {
            "date of birth": ["1907-03-19", "March 19, 1907", "19 de marzo de 1907", "date(1907, 3, 19", "03/19/1907"],
            "date of the residency": ["1987-06-05", "June 5, 1987", "June 4, 1987", "datetime(1987, 6"],
            "date of the check": ["1997-08-07", "Aug. 7, 1997", "datetime(1997, 8"],
        }.items():
            for value in values:
                add(kind, value)

    # Where is looked

    def passing_places(self):
        """(place, bytes) of what is overwritten or erased as life goes on."""
        yield from self.database.columns()
        if self.database.file is not None:
            for suffix in ("", "-wal"):
                if (file := Path(f"{self.database.file}{suffix}")).exists():
                    yield "database file", file.read_bytes()
        for folder in ("media", "cache", "spool"):
            yield from self._files(folder)

    def places(self):
        """(place, bytes) of everything that the site has written anywhere until now."""
        yield from self.passing_places()
        yield from self._files("mails")
        for output in sorted((self.home / "output").iterdir()):
            yield f"output {output.name}", output.read_bytes()
        yield "output of the sandbox", "".join(self.sandbox.output).encode()
        for log in (self.home / "logs").iterdir():
            for line in log.read_bytes().splitlines():
                name, text = json.loads(line)
                yield f"log {name}", text.encode()
        yield from self.pages

    def _files(self, folder):
        for file in sorted((self.home / folder).rglob("*")):
            try:
                yield folder, file.read_bytes()
            except (IsADirectoryError, FileNotFoundError):  # the site goes on working meanwhile
                continue

    def search(self, canaries):
        """Where which kind of canary lies: {(kind, place)}."""
        return {(kind, place) for place, data in self.places() for kind in canaries.found_in(data)}


def _answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
