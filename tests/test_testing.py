"""The test kit: the examples of docs/testing.md run in a site of README, and what the kit makes is what the package makes."""

import os
import re
import socket
import subprocess
import sys
import time
from datetime import timedelta
from urllib.parse import urlsplit

import django
import pytest
from django.utils import timezone

if django.VERSION >= (6, 0):
    from django.tasks.backends import dummy
else:
    from django_tasks.backends import dummy

from django_eprospera import access, audit, kyc, scopes
from django_eprospera.consent import readable_entities
from django_eprospera.kyc.reviews import evaluate_companies
from django_eprospera.models import Connection, Decision, Review
from django_eprospera.testing import SignInFailed
from django_eprospera.testing.factories import ALL_SCOPES
from tests.demo_process import KEYS, ROOT
from tests.test_readme import new_project

PAGE = (ROOT / "docs/testing.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL))
CLIENT = {"EPROSPERA_CLIENT_ID": "any", "EPROSPERA_CLIENT_SECRET": "any"}
PLUGIN = ["-m", "pytest", "-p", "django_eprospera.pytest_plugin", "-p", "no:cacheprovider", "-rA"]
REACHES = """
import contextlib

import pytest

from django_eprospera.errors import ProviderUnavailable
from django_eprospera.provider.http import Limits, call
from django_eprospera.sync import sync


def test_raises(eprospera_user):
    sync(eprospera_user(residency="Resident").eprospera)


def test_swallows(eprospera_user):
    with contextlib.suppress(Exception):
        sync(eprospera_user(residency="Resident").eprospera)


@pytest.mark.eprospera_provider
def test_means_it():
    with pytest.raises(ProviderUnavailable):
        call("GET", "https://nowhere.invalid/", limits=Limits(), path_template="/")


def test_own_machine(eprospera_sandbox):
    url = f"{eprospera_sandbox.url}/.well-known/openid-configuration"
    assert call("GET", url, limits=Limits(), path_template="/").status == 200
"""


def run(*command, cwd, **more):
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=170, **more)


@pytest.fixture
def site(tmp_path):
    """A site of README with the examples; the environment to run it in."""
    environment = new_project(tmp_path, strict=False)
    for name, code in EXAMPLES.items():
        (tmp_path / name).write_text(code)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    return environment


def test_examples_pass_with_pytest_on_two_processes_and_the_guard_fails_what_would_leave(site, tmp_path):
    (tmp_path / "test_reaches.py").write_text(REACHES)
    done = run(*PLUGIN, "-n", "2", "--ds", "mysite.settings", cwd=tmp_path, env=site | CLIENT)
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR) (\S+?)(?:\[.*?\])?(?: - (.*))?$", done.stdout, re.MULTILINE)
    expected = {
        f"{name}::{test}"
        for name, code in EXAMPLES.items()
        if name.startswith("test_")
        for test in re.findall(r"def (test_\w+)", code)
    }
    assert len(expected) >= 6
    assert {test for outcome, test, _ in outcomes if outcome == "PASSED"} == expected | {
        "test_reaches.py::test_means_it", "test_reaches.py::test_own_machine",
    }, done.stdout + done.stderr  # fmt: skip
    wrong = [(outcome, test) for outcome, test, _ in outcomes if outcome != "PASSED"]
    assert sorted(wrong) == [("FAILED", "test_reaches.py::test_raises"), ("FAILED", "test_reaches.py::test_swallows")]
    assert done.stdout.count("would have sent a request to portal.eprospera.com") >= 2
    assert not list(tmp_path.rglob("*.sealed")), "sealed files are kept in memory"


def test_examples_pass_with_unittest(site, tmp_path):
    (tmp_path / "field_encryption.key").write_text(KEYS.split(",")[0])
    done = run("manage.py", "test", "tests", cwd=tmp_path, env=site | CLIENT)
    assert done.returncode == 0, done.stderr
    assert "Ran 3 tests" in done.stderr


def test_first_test_is_short():
    assert len(EXAMPLES["test_members.py"].strip().splitlines()) <= 5


def test_plugin_imports_nothing_in_a_project_without_django(tmp_path):
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\ndef test_plain():\n    assert not {'django', 'django_eprospera.testing'} & set(sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = run(*PLUGIN, "-p", "no:django", "-p", "no:xdist", cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)})
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_sandbox_ends_with_the_process_that_started_it(tmp_path):
    code = (
        "import django, os, signal; django.setup()\nfrom django_eprospera.testing import Sandbox\n"
        "print(Sandbox().start().url, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "EPROSPERA_TEST_SCRATCH": str(tmp_path)}
    done = run("-c", code, cwd=ROOT, env=environment)
    address = ("127.0.0.1", urlsplit(done.stdout.strip()).port)
    for _ in range(600):
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.1)
    pytest.fail("it still listens")


@pytest.fixture
def all_scopes(settings):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = ALL_SCOPES


@pytest.mark.usefixtures("all_scopes")
class TestUser:
    @pytest.mark.parametrize("status", Review.Status.values)
    def test_review_of_a_person(self, eprospera_user, status):
        user = eprospera_user(residency="Resident", kyc=status)
        review = kyc.status_for(user)
        assert (review.status, access.kyc(user).allowed) == (status, status == "approved")
        assert all(map(kyc.verify_decision, Decision.objects.all()))
        assert Decision.objects.count() == (status in ("approved", "rejected"))
        assert audit.verify().problems == ()
        before = Review.objects.values().get()
        kyc.evaluate(user.eprospera)
        assert Review.objects.values().get() == before, "the package finds nothing to change"

    @pytest.mark.parametrize("status", ["pending", "approved", "rejected"])
    def test_review_of_a_company(self, eprospera_user, status):
        user = eprospera_user(companies={"Kites": status, "Reef": None})
        kites = next(each for each in readable_entities(user) if each.name == "Kites")
        assert kyc.status_for_entity(user, kites).status == status
        assert access.entity_kyc(user, kites).allowed == (status == "approved")
        assert audit.verify().problems == ()
        before = Review.objects.values().get(entity=kites)
        evaluate_companies(user.eprospera)
        assert Review.objects.values().get(entity=kites) == before

    @pytest.mark.parametrize(
        ("residency", "code"),
        [("Resident", "ok"), ("ended", "residency_ended"), ("never", "never_resident"), (None, "on_its_way")],
    )  # fmt: skip
    def test_residency(self, eprospera_user, residency, code):
        assert access.residency(eprospera_user(residency=residency)).code == code

    def test_user_and_reviewer_of_ones_own(self, eprospera_user, django_user_model):
        mine, reviewer = (django_user_model.objects.create_user(name) for name in ("mine", "reviewer"))
        with pytest.raises(ValueError, match="reviewer must be active and have the permissions"):
            eprospera_user(kyc="approved", reviewer=reviewer)
        reviewer.is_superuser = True
        assert eprospera_user(kyc="rejected", reviewer=reviewer, user=mine) == mine
        assert Decision.objects.get().reviewer == reviewer

    @pytest.mark.parametrize("wrong", [{"residency": "resident"}, {"kyc": "yes"}, {"companies": {"Kites": "waiting"}}])
    def test_a_value_that_is_not_known_is_named_with_those_that_are(self, eprospera_user, wrong):
        with pytest.raises(ValueError, match="must be one of"):
            eprospera_user(**wrong)
        assert not Connection.objects.exists()


def test_a_scope_that_the_site_does_not_request_is_named(eprospera_user):
    with pytest.raises(ValueError, match=scopes.PERSON_RESIDENCY_READ):
        eprospera_user(residency="Resident")


@pytest.mark.usefixtures("all_scopes")
class TestLogin:
    def test_facts_and_companies_are_there(self, client, eprospera_login):
        user = eprospera_login(client, "lucia", companies=["reef"])
        assert access.residency(user).allowed
        assert kyc.status_for(user).status == "pending"
        assert [each.entity.name for each in user.eprospera.entity_consents.all()] == ["Make-Believe Reef Surveys"]
        assert client.session["_auth_user_id"] == str(user.pk)

    def test_the_first_sync_is_done_where_tasks_wait_in_a_queue(self, client, eprospera_login, settings):
        settings.TASKS = {"default": {"BACKEND": f"{dummy.__name__}.DummyBackend"}}
        assert access.residency(eprospera_login(client, "ana")).allowed

    @pytest.mark.django_db(transaction=True)
    def test_with_commits(self, client, eprospera_login, eprospera_user):
        assert access.residency(eprospera_login(client, "ana", companies=[])).allowed
        assert access.kyc(eprospera_user(kyc="approved")).allowed
        assert audit.verify().problems == ()

    def test_a_live_server_is_registered(self, live_server, eprospera_sandbox):
        registered = eprospera_sandbox.control("redirect-uris")["redirect_uris"]
        assert f"{live_server.url}/complete/eprospera/" in registered

    def test_what_an_earlier_test_did_is_over(self, client, eprospera_login, eprospera_faults, eprospera_sandbox):
        for path in ("/.well-known/*", "/api/*"):
            eprospera_faults(path, status=503)
        with pytest.raises(SignInFailed):
            eprospera_login(client, "lucia")
        eprospera_sandbox.control("rotate-key", forget=True)

    test_and_the_next_one_signs_in = test_facts_and_companies_are_there

    def test_clock_moves_both_sides_and_is_set_right(self, client, eprospera_login, eprospera_clock, eprospera_sandbox):
        real = timezone.now()
        eprospera_clock.move(timedelta(days=-400))
        eprospera_clock.set(real + timedelta(days=400))
        user = eprospera_login(client, "lucia")
        assert timedelta(days=399) < user.last_login - real < timedelta(days=401)
        eprospera_clock.reset()
        assert eprospera_sandbox.control("clock")["ahead"] == 0
        assert abs(timezone.now() - real) < timedelta(hours=1)
