"""The example site reads the issue's environment, and the demo starts, keeps its data, refuses and stops as it says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo_process import KEYS, ROOT, DemoProcess, bare_environment, free_ports

GIVEN = {
    "SECRET_KEY": "s" * 50,
    "FIELD_ENCRYPTION_KEY": KEYS,
    "EPROSPERA_CLIENT_ID": "id",
    "EPROSPERA_CLIENT_SECRET": "secret",
}


def run(*command, **environment):
    """A command with nothing in the environment but what the test gives."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=bare_environment() | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def setting(expression, **environment):
    """Evaluate an expression over the example site's settings."""
    done = run("-c", f"from example_project import settings as s; print(({expression}))", **GIVEN, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_environment_reaches_the_settings():
    assert setting("s.EPROSPERA_BASE_URL") == "https://portal.eprospera.com"
    assert setting("s.EPROSPERA_BASE_URL", EPROSPERA_BASE_URL="http://localhost:9") == "http://localhost:9"
    assert setting("s.SOCIAL_AUTH_EPROSPERA_KEY, s.SOCIAL_AUTH_EPROSPERA_SECRET") == "('id', 'secret')"
    assert setting("s.SOCIAL_AUTH_EPROSPERA_SCOPE", EPROSPERA_SCOPE="openid  email") == "['openid', 'email']"
    assert setting("len(s.SOCIAL_AUTH_EPROSPERA_SCOPE)") == "9"
    assert setting("s.FIELD_ENCRYPTION_KEY") == str(KEYS.split(","))
    assert setting("s.DATABASES['default']['NAME']", DATABASE_URL="postgres://u@h/name") == "name"
    assert setting("s.ALLOWED_HOSTS", ALLOWED_HOSTS="a.example, b.example") == "['a.example', 'b.example']"


@pytest.mark.parametrize(("text", "debug"), [("", False), ("0", False), ("no", False), ("1", True), ("True", True)])
def test_debug_is_on_only_when_it_is_asked_for(text, debug):
    assert setting("s.DEBUG", DEBUG=text) == str(debug)


@pytest.mark.parametrize(("hosts", "debug", "secure"), [
    ("", "", False), ("localhost", "", False), ("shop.example", "", True), ("shop.example", "1", False), ("*", "", False),
])  # fmt: skip
def test_cookies_are_for_https_once_the_site_has_a_name(hosts, debug, secure):
    expression = "s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SOCIAL_AUTH_REDIRECT_IS_HTTPS"
    assert setting(expression, ALLOWED_HOSTS=hosts, DEBUG=debug) == str((secure, secure, secure))


def test_missing_secret_key_is_named():
    done = run("manage.py", "check")
    assert done.returncode != 0
    assert "Set SECRET_KEY in the environment" in done.stderr


def test_system_check_finds_nothing(tmp_path):
    done = run("manage.py", "check", DATABASE_URL=f"sqlite:///{tmp_path}/db.sqlite3", **GIVEN)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_deployment_check_finds_nothing_to_refuse(tmp_path):
    given = GIVEN | {
        "SECRET_KEY": "aB3$" * 15,
        "ALLOWED_HOSTS": "shop.example",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
    }
    done = run("manage.py", "check", "--deploy", "--fail-level", "ERROR", **given)
    assert done.returncode == 0, done.stderr


def test_demo_keeps_its_data_refuses_a_taken_port_and_stops_at_ctrl_c(tmp_path):
    demo = DemoProcess(tmp_path / "home").start()
    password = demo.password
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "secrets.json").stat().st_mode & 0o777 == 0o600
    other = DemoProcess(tmp_path / "other", port=demo.port)
    other.launch()
    said, _ = other.process.communicate(timeout=60)
    assert other.process.returncode == 2
    assert said == f"Port {demo.port} cannot be used: address already in use. Choose another one: make demo PORT=…\n"
    assert not (tmp_path / "other").exists()
    children = children_of(demo.process.pid)
    assert len(children) == 3
    assert demo.stop(signal.SIGINT) == 0
    assert not [pid for pid in children if alive(pid)]

    secrets = tmp_path / "home" / "secrets.json"
    # One secret in 64 begins like an option.
    secrets.write_text(json.dumps(json.loads(secrets.read_text()) | {"client_secret": "-begins-with-a-dash"}))
    with DemoProcess(tmp_path / "home", sandbox_port=demo.sandbox_port) as again:
        assert again.password == password
        assert "First run" not in "".join(again.output)


def test_demo_stops_whole_when_one_of_its_processes_ends(tmp_path):
    demo = DemoProcess(tmp_path / "home").start()
    children = children_of(demo.process.pid)
    os.kill(children[-1], signal.SIGKILL)
    said, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 1
    assert "The task worker ended by itself (exit code -9)." in said
    assert not [pid for pid in children if alive(pid)]


def test_demo_refuses_one_port_for_both(tmp_path):
    port = free_ports(1)[0]
    demo = DemoProcess(tmp_path / "home", port=port, sandbox_port=port).launch()
    said, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 2
    assert "must differ" in said


def children_of(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
