"""System checks: each mistake has its id, and `manage.py check` reports it instead of a traceback."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.checks import run_checks
from django.db import connection

from django_eprospera import scopes
from django_eprospera.checks import (
    CHECKS,
    check_connections,
    check_deployment,
    check_form_action,
    check_gates,
    check_keys_in_use,
    check_reviewers,
    check_settings,
    check_signing,
)
from django_eprospera.models import Connection
from django_eprospera.testing import factories
from tests.notebook.models import Notebook

ROOT = Path(__file__).parent.parent
KEY = "ycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJyck="
OTHER = "ysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKyso="
STEP = "django_eprospera.pipeline.store_connection"
CREATE = "social_core.pipeline.user.create_user"


def numbers(messages):
    return [message.id.removeprefix("eprospera.") for message in messages]


@pytest.mark.django_db  # on SQLite, Django's own checks ask the database what it can do
def test_settings_of_the_tests_pass_every_check():
    assert check_settings() == []
    assert [message for message in run_checks() if str(message.id).startswith("eprospera")] == []


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("FIELD_ENCRYPTION_KEY", None, "E001"),
        ("FIELD_ENCRYPTION_KEY", "", "E001"),
        ("FIELD_ENCRYPTION_KEY", [], "E001"),
        ("FIELD_ENCRYPTION_KEY", "secret", "E001"),
        ("FIELD_ENCRYPTION_KEY", [KEY, "secret"], "E001"),
        ("FIELD_ENCRYPTION_KEY", f"{KEY},{OTHER}", "E001"),
        ("FIELD_ENCRYPTION_KEY", {KEY}, "E001"),
        ("FIELD_ENCRYPTION_KEY", 5, "E001"),
        ("EPROSPERA_INDEX_KEY", "secret", "E002"),
        ("EPROSPERA_INDEX_KEY", [KEY, None], "E002"),
        ("SOCIAL_AUTH_EPROSPERA_KEY", "", "E003"),
        ("SOCIAL_AUTH_EPROSPERA_KEY", None, "E003"),
        ("SOCIAL_AUTH_EPROSPERA_SECRET", "", "E003"),
        ("AUTHENTICATION_BACKENDS", ["django.contrib.auth.backends.ModelBackend"], "E004"),
        ("ROOT_URLCONF", "django_eprospera.urls", "E005"),
        ("SOCIAL_AUTH_URL_NAMESPACE", "elsewhere", "E005"),
        ("EPROSPERA_BASE_URL", "", "E006"),
        ("EPROSPERA_BASE_URL", None, "E006"),
        ("EPROSPERA_BASE_URL", "portal.eprospera.com", "E006"),
        ("EPROSPERA_BASE_URL", "https://portal.eprospera.com/api", "E006"),
        ("EPROSPERA_BASE_URL", "https://portal.eprospera.com?x=1", "E006"),
        ("EPROSPERA_BASE_URL", "https://portal.eprospera.com#x", "E006"),
        ("EPROSPERA_BASE_URL", "https://user:pass@portal.eprospera.com", "E006"),
        ("EPROSPERA_BASE_URL", " https://portal.eprospera.com", "E006"),
        ("EPROSPERA_BASE_URL", "https://portal.eprospera.com:port", "E006"),
        ("EPROSPERA_BASE_URL", "https://[::1", "E006"),
        ("EPROSPERA_BASE_URL", "ftp://portal.eprospera.com", "E006"),
        ("EPROSPERA_BASE_URL", "http://portal.eprospera.com", "E007"),
        ("EPROSPERA_BASE_URL", "http://localhost.example.com", "E007"),
        ("EPROSPERA_TOKEN_AUTH_METHOD", "private_key_jwt", "E008"),
        ("EPROSPERA_USER_FIELDS", ["email", "sub"], "E009"),
        ("EPROSPERA_USER_FIELDS", "email", "E010"),
        ("EPROSPERA_TIMEOUT", 0, "E010"),
        ("EPROSPERA_DEADLINE", -1, "E010"),
        ("EPROSPERA_DEADLINE", "15", "E010"),
        ("EPROSPERA_MAX_FILE_BYTES", 0, "E010"),
        ("EPROSPERA_MAX_ANSWER_BYTES", "1 MB", "E010"),
        ("EPROSPERA_STALE_AFTER", "1 day", "E010"),
        ("EPROSPERA_ERASE_AFTER", timedelta(days=-1), "E010"),
        ("EPROSPERA_REFRESH_TOKEN_LIFETIME", 0, "E010"),
        ("EPROSPERA_KEEP_ALIVE", True, "E010"),
        ("EPROSPERA_RATE", 0, "E010"),
        ("EPROSPERA_RATE", "10/s", "E010"),
        ("EPROSPERA_RECENT_SIGN_IN", timedelta(0), "E010"),
        ("EPROSPERA_REFRESH_LEASE", 20, "E011"),
        ("EPROSPERA_REFRESH_BUDGET", timedelta(minutes=1), "E011"),
        ("EPROSPERA_DEADLINE", 300, "E011"),
        ("EPROSPERA_STORAGE", "vault", "E012"),
        ("SOCIAL_AUTH_EPROSPERA_SCOPE", 5, "E013"),
        ("SOCIAL_AUTH_EPROSPERA_SCOPE", ["openid", None], "E013"),
        ("SOCIAL_AUTH_EPROSPERA_SCOPE", "openid offline_access person.details", "W001"),
        ("SOCIAL_AUTH_EPROSPERA_SCOPE", ["openid", "email"], "W002"),
        ("SOCIAL_AUTH_PIPELINE", [STEP, CREATE], "W003"),
        ("SOCIAL_AUTH_EPROSPERA_PIPELINE", (STEP, CREATE), "W003"),
        ("EPROSPERA_BASEURL", "https://portal.eprospera.com", "W006"),
    ],
)
def test_one_mistake_is_one_message_with_a_hint(settings, setting, value, expected):
    setattr(settings, setting, value)
    (message,) = check_settings()
    assert numbers([message]) == [expected]
    assert message.hint
    assert "secret" not in f"{message.msg}{message.hint}".replace("client_secret", "")
    assert KEY not in f"{message.msg}{message.hint}"
    if setting.startswith(("EPROSPERA", "FIELD", "SOCIAL_AUTH_EPROSPERA_K", "SOCIAL_AUTH_EPROSPERA_S")):
        assert setting.removesuffix("_BUDGET").removesuffix("_DEADLINE") in f"{message.msg} {message.hint}"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("FIELD_ENCRYPTION_KEY", [KEY, OTHER.encode()]),
        ("EPROSPERA_INDEX_KEY", KEY),
        ("EPROSPERA_BASE_URL", "https://portal.eprospera.com/"),
        ("EPROSPERA_BASE_URL", "http://localhost:8001"),
        ("EPROSPERA_BASE_URL", "http://[::1]:8001"),
        ("EPROSPERA_TOKEN_AUTH_METHOD", "client_secret_post"),
        ("EPROSPERA_USER_FIELDS", ()),
        ("EPROSPERA_ERASE_AFTER", 0),
        ("EPROSPERA_KEEP_ALIVE", timedelta(days=30)),
        ("EPROSPERA_SPOOL", None),
        ("SOCIAL_AUTH_EPROSPERA_SCOPE", "openid offline_access"),
        ("SOCIAL_AUTH_PIPELINE", [CREATE, STEP]),
        ("SOCIAL_AUTH_PIPELINE", [CREATE]),
    ],
)
def test_valid_settings_pass(settings, setting, value):
    setattr(settings, setting, value)
    assert check_settings() == []


def test_settings_that_are_left_out_have_working_defaults(settings):
    for name in ("EPROSPERA_BASE_URL", "SOCIAL_AUTH_EPROSPERA_SCOPE"):
        delattr(settings, name)
    assert check_settings() == []


def test_in_production_tasks_and_the_provider_are_elsewhere(settings):
    assert numbers(check_deployment()) == ["W004", "W005"]
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    assert numbers(check_deployment()) == ["W004", "W005"]
    settings.TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
    settings.EPROSPERA_BASE_URL = "https://portal.eprospera.com"
    assert check_deployment() == []
    settings.TASKS, settings.EPROSPERA_BASE_URL, settings.DEBUG = {}, "http://localhost:8001", True
    assert check_deployment() == []


PROVIDER = "https://portal.eprospera.com"


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("SECURE_CSP", {"form-action": ["'self'"]}, ["W007"]),
        ("SECURE_CSP", {"form-action": ["'none'"]}, ["W007"]),
        (
            "SECURE_CSP",
            {"form-action": ["'self'", "https://portal.eprospera.org", "http://portal.eprospera.com"]},
            ["W007"],
        ),
        ("SECURE_CSP", {"form-action": ["'self'", PROVIDER]}, []),
        ("SECURE_CSP", {"form-action": ["'self'", "https://*.eprospera.com"]}, []),
        ("SECURE_CSP", {"form-action": "'self' portal.eprospera.com"}, []),
        ("SECURE_CSP", {"default-src": ["'self'"]}, []),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"form-action": ["'self'"]}}, ["W007"]),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"form-action": ["'self'", "https:"]}}, []),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {"default-src": ["'self'"]}}, []),
        ("CONTENT_SECURITY_POLICY", None, []),
        ("CSP_FORM_ACTION", ("'self'",), ["W007"]),
        ("CSP_FORM_ACTION", ("*",), []),
    ],
)
def test_a_policy_that_blocks_the_button_is_named(settings, setting, value, expected):
    settings.EPROSPERA_BASE_URL = PROVIDER
    setattr(settings, setting, value)
    messages = check_form_action()
    assert numbers(messages) == expected
    assert all(setting in message.msg and PROVIDER in message.hint for message in messages)


# Scopes that the site's gates and reviewers need


@pytest.mark.parametrize(
    "missing",
    [
        [
            scopes.ENTITY_READ,
            scopes.PERSON_DETAILS_READ,
            scopes.PERSON_ID_VERIFICATION_READ,
            scopes.PERSON_RESIDENCY_READ,
        ],
        [scopes.PERSON_ID_VERIFICATION_READ],
        [],
    ],
)
def test_a_scope_that_gates_need_and_that_is_not_requested_is_named(settings, missing):
    settings.ROOT_URLCONF = "tests.gated_urls"
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = [scope for scope in scopes.LABELS if scope not in missing]
    messages = check_gates()
    assert numbers(messages) == ["W009"] * len(missing)
    for scope, message in zip(sorted(missing), messages, strict=True):
        assert scope in message.msg
        assert "tests.gated_urls" in message.msg
        assert "cannot be opened" in message.msg


def test_gates_cannot_be_compared_with_scopes_of_the_wrong_type(settings):
    settings.ROOT_URLCONF = "tests.gated_urls"
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = 5
    assert check_gates() == [], "reported as E013"


def test_a_site_without_gates_needs_no_scopes_for_them(settings):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = ["openid"]
    assert check_gates() == []


@pytest.mark.django_db
@pytest.mark.parametrize("given_to", ["user", "group"])
def test_reviewers_without_the_scopes_of_a_review_are_named(settings, given_to):
    assert check_reviewers(databases=["default"]) == [], "nobody reviews"
    permission = Permission.objects.get(codename="decide_review")
    holder = Group.objects.create(name="reviewers") if given_to == "group" else factories.user()
    (holder.permissions if given_to == "group" else holder.user_permissions).add(permission)
    (message,) = check_reviewers(databases=["default"])
    assert numbers([message]) == ["W009"]
    assert scopes.PERSON_DETAILS_READ in message.msg
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = list(scopes.FEATURES["kyc"])
    assert check_reviewers(databases=["default"]) == []


@pytest.mark.django_db
def test_who_may_export_case_files_needs_a_key_to_sign_them(settings):
    assert check_signing(databases=["default"]) == []
    factories.user().user_permissions.add(Permission.objects.get(codename="export_review"))
    assert numbers(check_signing(databases=["default"])) == ["W011"]
    settings.EPROSPERA_SIGNING_KEY = "c2lnbmluZyBrZXkgbnVtYmVyIG9uZSBvZiB0ZXN0cyE="
    assert check_signing(databases=["default"]) == []


@pytest.mark.parametrize("given", ["short", ["b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI=", "short"], 7, "the same"])
def test_a_signing_key_is_a_key_of_its_own(settings, given):
    settings.EPROSPERA_SIGNING_KEY = settings.FIELD_ENCRYPTION_KEY if given == "the same" else given
    assert "E015" in numbers(check_settings())


@pytest.mark.django_db
@pytest.mark.parametrize("setting", ["EPROSPERA_BASE_URL", "SOCIAL_AUTH_EPROSPERA_KEY"])
def test_connections_of_another_provider_or_client_are_counted(settings, setting):
    factories.connection()
    factories.connection()
    assert check_connections(databases=["default"]) == []
    setattr(settings, setting, "https://other.example")
    (message,) = check_connections(databases=["default"])
    assert numbers([message]) == ["W010"]
    assert "2 connections belong" in message.msg
    Connection.objects.first().delete()
    (message,) = check_connections(databases=["default"])
    assert "1 connection belongs" in message.msg


def test_every_id_that_is_used_stands_in_the_table_and_every_one_in_the_table_is_used():
    package = ROOT / "django_eprospera"
    used = set()
    for path in [*(package / "checks").glob("*.py"), *(package / "fields").glob("*.py")]:
        if path.name != "table.py":
            used |= {f"eprospera.{number}" for number in re.findall(r'"(?:eprospera\.)?([EW]\d{3})"', path.read_text())}
    assert used == set(CHECKS)


# Keys that are in use


@pytest.mark.django_db
def test_a_value_a_file_or_an_index_whose_key_is_not_there_is_named_with_its_count(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.STORAGES = {**settings.STORAGES}
    settings.FIELD_ENCRYPTION_KEY = KEY
    Notebook.objects.create(owner="Ada", email="ada@example.test")
    factories.id_verification(factories.connection(), pictures=["face"])
    settings.FIELD_ENCRYPTION_KEY = [OTHER, KEY]
    assert check_keys_in_use(databases=["default"]) == []
    settings.FIELD_ENCRYPTION_KEY = OTHER
    (message,) = check_keys_in_use(databases=["default"])
    assert numbers([message]) == ["E020"]
    assert "1 file, 2 index entries" in message.msg
    assert "eprospera_rotate_keys" in message.hint


@pytest.mark.django_db
def test_an_index_may_hang_on_an_index_key_and_a_value_may_not(settings):
    settings.FIELD_ENCRYPTION_KEY = KEY
    settings.EPROSPERA_INDEX_KEY = OTHER
    row = Notebook.objects.create(owner="Ada")
    assert check_keys_in_use(databases=["default"]) == []
    settings.EPROSPERA_INDEX_KEY = ()
    assert numbers(check_keys_in_use(databases=["default"])) == ["E020"]
    row.delete()
    settings.FIELD_ENCRYPTION_KEY = OTHER
    Notebook.objects.create(pin="1")
    settings.FIELD_ENCRYPTION_KEY, settings.EPROSPERA_INDEX_KEY = KEY, OTHER
    assert numbers(check_keys_in_use(databases=["default"])) == ["E020"]


@pytest.mark.django_db
def test_plain_text_in_a_sealed_column_is_found():
    Notebook.objects.create()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notebook_notebook SET owner = 'Plain Canary'")
    (message,) = check_keys_in_use(databases=["default"])
    assert numbers([message]) == ["E021"]
    assert "Canary" not in message.msg + message.hint


def test_without_a_database_asked_for_none_is_looked_into():
    # No django_db mark: a query would fail the test.
    for check in (check_keys_in_use, check_connections, check_reviewers):
        assert check(databases=None) == []
        assert check(databases=[]) == []


# As a process of its own


@pytest.fixture
def site(tmp_path):
    """A settings module with the lines that a test gives it, on a database of its own."""

    def run(lines, *command):
        text = f"from tests.settings import *\nDATABASES['default']['NAME'] = {str(tmp_path / 'site.sqlite3')!r}\n"
        (tmp_path / "mistaken_settings.py").write_text(text + lines)
        return subprocess.run(
            [sys.executable, "-m", "django", *command],
            env={
                **os.environ,
                "DATABASE_URL": "",
                "EPROSPERA_TEST_SCRATCH": str(tmp_path),
                "DJANGO_SETTINGS_MODULE": "mistaken_settings",
                "PYTHONPATH": f"{tmp_path}:{ROOT}",
                # A module that is written twice within a second, at the same length, looks unchanged to the bytecode cache.
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ("del FIELD_ENCRYPTION_KEY", "E001"),
        (f"FIELD_ENCRYPTION_KEY = [{KEY!r}, 'no-fernet-key']", "E001"),
        ("INSTALLED_APPS.remove('social_django')\nROOT_URLCONF = 'mistaken_settings'\nurlpatterns = []", "E005"),
    ],
)
def test_manage_py_check_reports_the_mistake_and_no_traceback(site, lines, number):
    done = site(lines, "check")
    assert done.returncode == 1
    assert f"eprospera.{number}" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr
    assert "no-fernet-key" not in done.stderr


def test_a_check_of_the_deployment_needs_no_tables_and_refuses_to_lose_a_key_in_use(site):
    asked = ("check", "--deploy", "--database", "default", "--fail-level", "ERROR")
    key, other = f"FIELD_ENCRYPTION_KEY = {KEY!r}", f"FIELD_ENCRYPTION_KEY = {OTHER!r}"
    done = site(key, *asked)
    assert done.returncode == 0, done.stderr
    assert site(key, "migrate", "--run-syncdb", "--verbosity", "0").returncode == 0
    write = "from tests.notebook.models import Notebook; Notebook.objects.create(owner='Ada')"
    assert site(key, "shell", "--command", write).returncode == 0
    assert site(key, *asked).returncode == 0
    refused = site(other, *asked)
    assert refused.returncode == 1
    assert "eprospera.E020" in refused.stderr
    assert "1 value, 1 index entry" in refused.stderr
