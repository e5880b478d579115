"""A sign-in ÷ one with python-social-auth's own OpenID Connect backend: the same person, at the same sandbox.

Each package signs in in a process of its own, with its own settings and tables, by turns. What is measured are the request that
begins and the one at the callback, with the site's requests to the provider; not the browser's way through the provider's
pages, and no tasks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl, quote, urlsplit

import certifi
import psycopg

from benchmarks.measure import Row, compared, sandbox
from tests.demo_process import free_ports
from tests.peers import make_certificate

# The paths at which each begins, and at which it is called back.
PATHS = {
    "eprospera": ("/login/eprospera/", "/complete/eprospera/"),
    "oidc": ("/login/oidc/", "/complete/oidc/"),
    "allauth": ("/accounts/oidc/peer/login/", "/accounts/oidc/peer/login/callback/"),
    "mozilla": ("/oidc/authenticate/", "/oidc/callback/"),
}
SCOPES = ["openid", "profile", "email", "offline_access"]
CLIENT, SECRET = "bench-client", "bench-secret"
SITE = "http://testserver"
TIMES = 10


def rows(bench):
    for scheme, goal in (("http", 0.8), ("https", 0.33)):
        with provider(scheme) as url, workers(url, "eprospera", "oidc") as ask:
            pairs = [(ask("eprospera")[0], ask("oidc")[0]) for _ in range(bench.rounds)]
            yield compared(f"Sign-in over {scheme}: CPU ÷ bare python-social-auth", pairs, goal=goal)
            if scheme == "http":
                yield Row("Sign-in: SQL", ask("eprospera")[1], "queries", 16)


@contextmanager
def provider(scheme):
    """A sandbox, over TLS if the scheme says so; yields its address. Roots are certifi's and the sandbox's certificate."""
    with TemporaryDirectory() as folder, ExitStack() as undo:
        options = {
            "client_id": CLIENT,
            "client_secret": SECRET,
            "redirect_uris": [SITE + path for _, path in PATHS.values()],
        }
        if scheme == "https":
            options["port"] = free_ports(1)[0]
            options["issuer"] = f"https://localhost:{options['port']}"
            certificate, roots = make_certificate(Path(folder) / "own.pem", "localhost"), Path(folder) / "roots.pem"
            roots.write_text(Path(certifi.where()).read_text() + Path(certificate).read_text())
            for name, value in (("EPROSPERA_BENCH_CERTIFICATE", certificate), ("REQUESTS_CA_BUNDLE", str(roots))):
                os.environ[name] = value
                undo.callback(os.environ.pop, name)
        with sandbox("benchmarks.provider", **options) as process:
            yield process.url


@contextmanager
def workers(url, *kinds):
    """A process for each package; yields a function that has one sign in, and returns CPU seconds and SQL of a sign-in."""
    database = os.environ["DATABASE_URL"]
    with ExitStack() as stack:
        processes = {}
        for kind in kinds:
            with psycopg.connect(database) as server:
                server.execute(f"DROP SCHEMA IF EXISTS {kind} CASCADE")
                server.execute(f"CREATE SCHEMA {kind}")
            own = os.environ | {"DATABASE_URL": f"{database}?options={quote(f'-c search_path={kind}')}"}
            processes[kind] = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.sign_in", kind, url], env=own, text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )
            )  # fmt: skip
            stack.callback(processes[kind].stdin.close)

        def ask(kind):
            processes[kind].stdin.write("sign in\n")
            processes[kind].stdin.flush()
            return json.loads(processes[kind].stdout.readline())

        for kind in kinds:
            ask(kind)
        yield ask


def set_up(kind, url):
    """Set Django up with one of the packages."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    from django.conf import settings

    engine = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    settings.TASKS = {"default": {"BACKEND": f"{engine}.backends.dummy.DummyBackend"}}
    bare = [app for app in settings.INSTALLED_APPS if app.startswith("django.")]
    if kind == "eprospera":
        settings.EPROSPERA_BASE_URL = url
        settings.SOCIAL_AUTH_EPROSPERA_KEY, settings.SOCIAL_AUTH_EPROSPERA_SECRET = CLIENT, SECRET
        settings.SOCIAL_AUTH_EPROSPERA_SCOPE = SCOPES
        apps, backend, urls = (
            ["social_django", "django_eprospera"],
            "django_eprospera.backends.EprosperaOpenIdConnect",
            "django_eprospera social_django",
        )
    elif kind == "oidc":
        settings.SOCIAL_AUTH_OIDC_OIDC_ENDPOINT, settings.SOCIAL_AUTH_OIDC_USE_PKCE = url, True
        settings.SOCIAL_AUTH_OIDC_KEY, settings.SOCIAL_AUTH_OIDC_SECRET = CLIENT, SECRET
        settings.SOCIAL_AUTH_OIDC_SCOPE = SCOPES
        apps, backend, urls = (
            ["social_django"],
            "social_core.backends.open_id_connect.OpenIdConnectAuth",
            "social_django",
        )
    elif kind == "allauth":
        # It sends no nonce of its own, without which this provider refuses.
        app = {
            "provider_id": "peer", "name": "peer", "client_id": CLIENT, "secret": SECRET,
            "settings": {"server_url": url, "auth_params": {"nonce": "nonce"}, "token_auth_method": "client_secret_basic"},
        }  # fmt: skip
        settings.SOCIALACCOUNT_PROVIDERS = {
            "openid_connect": {"OAUTH_PKCE_ENABLED": True, "SCOPE": SCOPES, "APPS": [app]}
        }
        settings.ACCOUNT_EMAIL_VERIFICATION = "none"
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]
        apps = ["allauth", "allauth.account", "allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"]
        backend, urls = "allauth.account.auth_backends.AuthenticationBackend", "allauth"
    else:
        settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET, settings.OIDC_USE_PKCE = CLIENT, SECRET, True
        settings.OIDC_RP_SIGN_ALGO, settings.OIDC_RP_SCOPES = "RS256", " ".join(SCOPES)
        settings.OIDC_OP_AUTHORIZATION_ENDPOINT = f"{url}/api/oauth/authorize"
        settings.OIDC_OP_TOKEN_ENDPOINT = f"{url}/api/oauth/token"
        settings.OIDC_OP_USER_ENDPOINT = f"{url}/api/oauth/userinfo"
        settings.OIDC_OP_JWKS_ENDPOINT = f"{url}/api/oauth/.well-known/jwks.json"
        apps, backend, urls = (
            ["mozilla_django_oidc"],
            "mozilla_django_oidc.auth.OIDCAuthenticationBackend",
            "mozilla_django_oidc",
        )
    settings.INSTALLED_APPS, settings.AUTHENTICATION_BACKENDS = [*bare, *apps], [backend]
    django.setup()
    from django.core.management import call_command
    from django.urls import include, path

    prefix = {"allauth": "accounts/", "mozilla": "oidc/"}.get(kind, "")
    settings.ROOT_URLCONF = tuple(path(prefix, include(f"{app}.urls")) for app in urls.split())
    call_command("migrate", verbosity=0)


def work(kind, url):
    """For each line on standard input sign in some times, and print the CPU seconds and the SQL of a sign-in."""
    set_up(kind, url)
    import logging

    from django.test import Client

    from benchmarks.measure import queries, spent
    from tests.sandbox_process import OTTO, SandboxProcess, new_browser

    logging.disable(logging.CRITICAL)
    begin, callback = PATHS[kind]
    guide = SandboxProcess(redirect_uris=[SITE + callback])
    guide.url = url

    def sign_in(measure):
        site, person = Client(), new_browser()
        person.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        answers = []
        method = site.get if kind == "mozilla" else site.post
        figure = measure(lambda: answers.append(method(begin)))
        reached = guide.walk(dict(parse_qsl(urlsplit(answers[0]["Location"]).query)), OTTO, browser=person)
        figure += measure(lambda: answers.append(site.get(callback, reached)))
        assert "_auth_user_id" in site.session, answers[-1].content
        return figure

    for _ in sys.stdin:
        seconds = sum(sign_in(spent) for _ in range(TIMES)) / TIMES
        print(json.dumps([seconds, sign_in(queries)]), flush=True)


if __name__ == "__main__":
    work(*sys.argv[1:])
