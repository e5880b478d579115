"""Tests of the command: arguments, output, stored data, signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import jwt
import pytest
import requests

from tests.sandbox_process import LUCIA, SandboxProcess, new_browser


def run(*arguments, module="django_eprospera.sandbox", **more):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, **more)


def test_it_prints_the_client_settings_but_not_a_given_secret():
    with SandboxProcess(client_secret="a-secret-of-my-own") as sandbox:
        printed = "".join(sandbox.output)
    assert sandbox.client_id in printed
    assert sandbox.redirect_uri in printed
    assert "a-secret-of-my-own" not in printed


def test_by_default_a_site_on_port_8000_can_use_localhost_or_127_0_0_1():
    with SandboxProcess(redirect_uris=()) as sandbox:
        sandbox.redirect_uris = [f"http://{host}:8000/complete/eprospera/" for host in ("localhost", "127.0.0.1")]
        for uri in sandbox.redirect_uris:
            assert "code" in sandbox.walk(sandbox.authorize_parameters(redirect_uri=uri))


def test_a_secret_may_begin_with_a_dash():
    with SandboxProcess(client_secret="-secret") as sandbox:
        assert sandbox.refresh("rt_unknown").json() == {"error": "invalid_grant"}


def test_a_port_in_use_is_one_line_and_exit_code_2():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("--port", str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "Choose another --port" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--port", "99999"], "--port"),
        (["--redirect-uri", "/relative"], "--redirect-uri"),
        (["--redirect-uri", "http://x/#fragment"], "--redirect-uri"),
        (["--issuer", "localhost"], "--issuer"),
        (["--allowed-scope", "root"], "--allowed-scope"),
        (["--refresh-reuse", "maybe"], "--refresh-reuse"),
        (["--data-dir", "/dev/null/x"], "--data-dir"),
    ],
)
def test_invalid_arguments_are_named(arguments, word):
    result = run(*arguments)
    assert result.returncode == 2
    assert word in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_without_a_data_dir_all_files_are_deleted(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "django_eprospera.sandbox", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8")
    assert any(line.startswith("e-Próspera sandbox on") for line in process.stdout)
    assert list(tmp_path.iterdir())
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
    assert not list(tmp_path.iterdir())


def test_with_a_data_dir_keys_grants_and_changes_survive(tmp_path):
    with SandboxProcess(data_dir=tmp_path / "state") as sandbox:
        tokens = sandbox.sign_in()
        sandbox.control(f"personas/{LUCIA}", "POST", person={"surname": "Otra"})
        port = int(sandbox.url.rpartition(":")[2])
    with SandboxProcess(port=port, data_dir=tmp_path / "state") as sandbox:
        assert sandbox.get("/api/v1/me/natural-person", tokens["access_token"]).json()["surname"] == "Otra"
        answer = sandbox.refresh(tokens["refresh_token"])
        assert answer.status_code == 200
        kid = jwt.get_unverified_header(tokens["access_token"])["kid"]
        assert kid == jwt.get_unverified_header(answer.json()["access_token"])["kid"]


def test_a_client_that_is_no_longer_registered_is_unknown(tmp_path):
    with SandboxProcess(client_id="earlier", data_dir=tmp_path) as sandbox:
        tokens = sandbox.sign_in()
    with SandboxProcess(client_id="later", data_dir=tmp_path) as sandbox:
        assert sandbox.get("/api/oauth/userinfo", tokens["access_token"]).status_code == 401
        sandbox.client_id = "earlier"
        assert sandbox.refresh(tokens["refresh_token"]).json() == {"error": "invalid_client"}


def test_a_data_dir_of_another_version_is_refused(tmp_path):
    with SandboxProcess(data_dir=tmp_path):
        pass
    for other in ("CREATE TABLE other (id)", None):
        (tmp_path / "schema.sql").unlink()
        if other:
            (tmp_path / "schema.sql").write_text(other)
        result = run("--port", "0", "--data-dir", str(tmp_path))
        assert result.returncode == 2
        assert "another version" in result.stderr
        assert "Traceback" not in result.stderr


def test_the_files_of_a_data_dir_are_for_their_owner_only(tmp_path):
    with SandboxProcess(data_dir=tmp_path / "state"):
        for name in ("keys.json", "secret-key"):
            assert (tmp_path / "state" / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_without_a_traceback(number):
    sandbox = SandboxProcess().start()
    sandbox.process.send_signal(number)
    assert sandbox.process.wait(20) == 0
    assert "Traceback" not in "".join(sandbox.output)
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.url)


def test_the_issuer_can_be_another_origin():
    with SandboxProcess(issuer="https://id.example.test/") as sandbox:
        port = next(line.rpartition(":")[2] for line in sandbox.output if line.startswith("listening"))
        metadata = requests.get(f"http://127.0.0.1:{int(port)}/.well-known/openid-configuration").json()
    assert metadata["issuer"] == "https://id.example.test"
    assert metadata["token_endpoint"] == "https://id.example.test/api/oauth/token"


def test_listening_on_other_interfaces_prints_a_warning():
    with SandboxProcess(host="0.0.0.0") as sandbox:
        assert any("Warning" in line and "0.0.0.0" in line for line in sandbox.output)
        assert sandbox.control("health")["status"] == "ok"


def test_requests_are_logged_without_their_secrets():
    sandbox = SandboxProcess()
    sandbox.command.remove("--quiet")
    with sandbox:
        tokens = sandbox.sign_in()
        sandbox.refresh(tokens["refresh_token"])
        requests.get(f"{sandbox.url}/?code=hidden-code")
    printed = "".join(sandbox.output)
    assert "POST    /api/oauth/token  200" in printed
    for secret in ("hidden-code", tokens["refresh_token"], tokens["nonce"], "state="):
        assert secret not in printed


def test_two_sandboxes_on_one_machine_share_nothing():
    with SandboxProcess() as one, SandboxProcess() as other:
        browser = new_browser()
        tokens = one.sign_in(browser=browser)
        assert other.get("/api/oauth/userinfo", tokens["access_token"]).status_code == 401
        assert other.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
        assert one.get("/.well-known/jwks.json").json() != other.get("/.well-known/jwks.json").json()


def test_the_management_command_forwards_signals_to_its_child():
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-m", "django", "eprospera_sandbox", "--port", "0", "--client-id", "from-manage"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("e-Próspera sandbox on"):
            break
    assert "client id      from-manage\n" in lines
    url = lines[-1].split()[-1]
    assert requests.get(f"{url}/_sandbox/health").status_code == 200
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(url)


def test_the_management_command_returns_the_exit_code_of_its_child():
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    result = run("eprospera_sandbox", "--refresh-reuse", "maybe", module="django", env=environment)
    assert result.returncode == 2
