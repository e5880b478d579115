"""CPU of a sign-in, as a ratio to python-social-auth's OpenID Connect backend with its stock pipeline, and its SQL statements.

    python -m benchmarks sign_in

Both sign the same person in at the same sandbox over http, by turns, in processes of their own. A sign-in is the POST that
begins it and the GET at the callback; the browser's way through the provider's pages is not counted, nor are tasks.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import django

ROOT = Path(__file__).resolve().parent.parent
ROUNDS, SIGN_INS = 7, 20


def set_up(kind, provider, client_id, client_secret):
    """Set Django up with our app, or with python-social-auth alone."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings

    settings.ROOT_URLCONF = "tests.sign_in.urls" if kind == "ours" else "benchmarks._bare"
    engine = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    settings.TASKS = {"default": {"BACKEND": f"{engine}.backends.dummy.DummyBackend"}}
    if kind == "bare":
        settings.INSTALLED_APPS = [
            app for app in settings.INSTALLED_APPS if app not in ("django_eprospera", "tests.notebook")
        ]
        settings.AUTHENTICATION_BACKENDS = ["benchmarks._bare.Backend"]
        settings.SOCIAL_AUTH_BARE_OIDC_ENDPOINT = provider
        settings.SOCIAL_AUTH_BARE_KEY, settings.SOCIAL_AUTH_BARE_SECRET = client_id, client_secret
        settings.SOCIAL_AUTH_BARE_SCOPE = settings.SOCIAL_AUTH_EPROSPERA_SCOPE
    settings.EPROSPERA_BASE_URL = provider
    settings.SOCIAL_AUTH_EPROSPERA_KEY, settings.SOCIAL_AUTH_EPROSPERA_SECRET = client_id, client_secret
    django.setup()


def worker(kind, provider, client_id, client_secret):
    """For each number on standard input, sign in so often; print CPU seconds and statements of each sign-in."""
    set_up(kind, provider, client_id, client_secret)
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from benchmarks._cpu import Meter
    from tests.sandbox_process import OTTO, SandboxProcess

    name = "eprospera" if kind == "ours" else "bare"
    guide = SandboxProcess(redirect_uris=[f"http://testserver/complete/{name}/"])
    guide.url = provider

    def sign_in(around):
        browser = Client()
        with around:
            begun = browser.post(f"/login/{name}/")
        reached = guide.walk(dict(parse_qsl(urlsplit(begun["Location"]).query)), OTTO)
        with around:
            answer = browser.get(f"/complete/{name}/", reached)
        assert answer.status_code == 302, answer.content
        assert get_user_model().objects.filter(last_login__isnull=False).exists()

    class Captured(CaptureQueriesContext):
        def __init__(self, connection, sink):
            super().__init__(connection)
            self.sink = sink

        def __exit__(self, *exc_info):
            super().__exit__(*exc_info)
            self.sink += [query["sql"] for query in self.captured_queries]

    for line in sys.stdin:
        meter = Meter()
        for _ in range(int(line)):
            sign_in(meter)
        captured = []
        sign_in(Captured(connection, captured))
        count = sum(not sql.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")) for sql in captured)
        print(json.dumps([meter.total / int(line), count]), flush=True)


def main():
    set_up("ours", "http://127.0.0.1:1", "", "")
    from django.core.management import call_command

    from tests.sandbox_process import SandboxProcess

    call_command("migrate", verbosity=0)
    uris = [f"http://testserver/complete/{name}/" for name in ("eprospera", "bare")]
    with SandboxProcess(client_secret="bench-secret", redirect_uris=uris) as sandbox:
        workers = {
            kind: subprocess.Popen(
                [sys.executable, "-m", "benchmarks.sign_in", kind, sandbox.url, sandbox.client_id, sandbox.client_secret],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for kind in ("ours", "bare")
        }  # fmt: skip

        def ask(kind, number):
            workers[kind].stdin.write(f"{number}\n")
            workers[kind].stdin.flush()
            return json.loads(workers[kind].stdout.readline())

        for kind in workers:
            ask(kind, 3)
        rounds = [{kind: ask(kind, SIGN_INS) for kind in workers} for _ in range(ROUNDS)]
        for process in workers.values():
            process.communicate()
    cpu = {kind: statistics.median(each[kind][0] for each in rounds) for kind in ("ours", "bare")}
    ratio = statistics.median(each["ours"][0] / each["bare"][0] for each in rounds)
    (ours, bare) = (rounds[0][kind][1] for kind in ("ours", "bare"))
    print(
        f"sign-in over http: CPU {ratio:.2f} × bare python-social-auth (goal ≤ 0.8), {cpu['ours'] * 1000:.1f} ms to "
        f"{cpu['bare'] * 1000:.1f} ms; SQL {ours} (goal ≤ 16), bare {bare}"
    )


if __name__ == "__main__":
    worker(*sys.argv[1:]) if sys.argv[1:] else main()
