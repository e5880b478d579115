"""Tests of README: its steps work in a new project, and its tables and names are those of the code."""

import ast
import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
import requests

from django_eprospera import pytest_plugin
from django_eprospera.checks.table import CHECKS
from django_eprospera.conf import Conf
from django_eprospera.scopes import FEATURES, LABELS, OFFLINE_ACCESS
from tests.demo_process import ROOT, free_ports
from tests.sandbox_process import LUCIA, NADIA, SandboxProcess, hidden_fields

README = (ROOT / "README.md").read_text()
HEADING = "## Add it to your site"
# A server that mounts the site below a prefix, as a proxy would, and a site on which every view needs a user.
PREFIX = "/some/where"
STRICT_SETTINGS = '\nMIDDLEWARE += ["django.contrib.auth.middleware.LoginRequiredMiddleware"]\n'
STRICT_WSGI = f"""
django_application = application


def application(environ, start_response):
    assert environ["PATH_INFO"].startswith({PREFIX!r}), environ["PATH_INFO"]
    below = environ["PATH_INFO"].removeprefix({PREFIX!r})
    return django_application(environ | {{"SCRIPT_NAME": {PREFIX!r}, "PATH_INFO": below}}, start_response)
"""


def block(language, beginning, heading=HEADING):
    """The one fenced block below a heading that begins so."""
    section = README.split(f"\n{heading}\n")[1].split("\n## ")[0]
    (found,) = [
        code for code in re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL) if code.startswith(beginning)
    ]
    return found


def new_project(directory, *, strict):
    """`django-admin startproject mysite .` with the lines of README; returns the environment to run it in."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL"}
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(["django-admin", "startproject", "mysite", "."], cwd=directory, env=environment, check=True)
    with (directory / "mysite/settings.py").open("a") as file:
        file.write(block("python", "# settings.py") + (STRICT_SETTINGS if strict else ""))
    (directory / "mysite/views.py").write_text(block("python", "# views.py"))
    with (directory / "mysite/urls.py").open("a") as file:
        file.write(block("python", "# urls.py"))
    if strict:
        with (directory / "mysite/wsgi.py").open("a") as file:
            file.write(STRICT_WSGI)
    (directory / "templates").mkdir()
    (directory / "templates/home.html").write_text(block("django", "{% load"))
    return environment


@pytest.fixture(params=[False, True], ids=["plain", "prefix and LoginRequiredMiddleware"])
def fresh_project(request, tmp_path):
    """The addresses of a new project and of its sandbox, running with the commands of README; stopped as a group."""
    environment = new_project(tmp_path, strict=request.param)
    port, sandbox_port = free_ports(2)
    site = f"http://127.0.0.1:{port}{PREFIX if request.param else ''}"
    provider = f"http://localhost:{sandbox_port}"
    script = re.sub(r"^\$ ", "", block("console", "$ (umask"), flags=re.MULTILINE)
    # Typed as it stands, but for the ports, which may be taken here, and the command, which is not installed here.
    sandbox = f"python -m django_eprospera.sandbox --port {sandbox_port} --redirect-uri {site}/complete/eprospera/"
    for said, typed in (
        ("http://localhost:8001", provider), ("eprospera-sandbox &", f"{sandbox} &"),
        ("runserver", f"runserver --noreload {port}"),
    ):  # fmt: skip
        assert script.count(said) == 1
        script = script.replace(said, typed)
    process = subprocess.Popen(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    alarm = threading.Timer(120, os.killpg, (process.pid, signal.SIGKILL))
    alarm.start()
    output = []
    try:
        ready = set()
        for line in process.stdout:
            output.append(line)
            ready |= {word for word in ("e-Próspera sandbox on", "Quit the server") if word in line}
            if len(ready) == 2:
                break
        else:
            pytest.fail("".join(output))
        threading.Thread(target=output.extend, args=(process.stdout,), daemon=True).start()
        said = "".join(output)
        assert "System check identified no issues" in said
        assert f"http://127.0.0.1:{port}/" in said, "the address that README says to open"
        assert (tmp_path / "field_encryption.key").stat().st_mode & 0o777 == 0o600
        yield site, provider
    finally:
        alarm.cancel()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def visit(site, provider, persona):
    """Press the button of the home page and sign in at the provider; returns the browser and the page it lands on."""
    browser = requests.Session()
    browser.trust_env = False
    home = browser.get(f"{site}/", timeout=60)
    assert home.status_code == 200, home.text
    action = re.search(r'action="([^"]+)"', home.text)[1]
    begun = browser.post(urljoin(site, action), data=dict(hidden_fields(home.text)), allow_redirects=False, timeout=60)
    assert begun.headers.get("Location", "").startswith(f"{provider}/api/oauth/authorize?"), begun.text
    sandbox = SandboxProcess(redirect_uris=[f"{site}/complete/eprospera/"])
    sandbox.url = provider
    reached = sandbox.walk(dict(parse_qsl(urlsplit(begun.headers["Location"]).query)), persona)
    return browser, browser.get(f"{site}/complete/eprospera/", params=reached, timeout=60)


def test_lines_for_a_site_of_ones_own_work_as_written(fresh_project):
    site, provider = fresh_project
    refused = requests.get(f"{site}/members/", timeout=60)
    assert refused.url.startswith(f"{site}/?next="), "sent to the home page, which has the button"
    browser, page = visit(site, provider, LUCIA)
    assert page.url == f"{site}/", page.text
    assert "Hello Lucía" in page.text
    mentioned = set(re.findall(r"`(/[a-z/]*)`", README.split(f"\n{HEADING}\n")[1].split("\n## ")[0]))
    assert {"/members/"} < mentioned
    for path in mentioned:
        answer = browser.get(site + path, timeout=60)
        assert (answer.status_code, answer.url) == (200, site + path)
    assert browser.get(f"{site}/members/", timeout=60).text == "Welcome, Lucía."
    if not site.endswith(PREFIX):  # Django fixes the prefix of STATIC_URL when it starts
        stylesheet = re.search(r'<link rel="stylesheet" href="([^"]+)">', page.text)[1]
        assert browser.get(site + stylesheet, timeout=60).status_code == 200

    browser, _ = visit(site, provider, NADIA)
    refused = browser.get(f"{site}/members/", timeout=60)
    assert refused.status_code == 403
    links = re.findall(r'(?:href|action)="(/[^"]*)"', refused.text)
    assert len(links) >= 3
    outside = [link for link in links if not link.startswith((urlsplit(site).path + "/", "/static/"))]
    assert not outside, "all below the prefix"


def test_what_is_not_set_is_named_and_no_traceback(tmp_path):
    environment = new_project(tmp_path, strict=False)
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert set(re.findall(r"eprospera\.E\d+", done.stderr)) == {"eprospera.E001", "eprospera.E003"}
    assert "Traceback" not in done.stderr


def test_table_of_scopes_is_that_of_the_code():
    table = re.search(r"<!-- scopes -->\n(.*?)\n<!-- /scopes -->", README, re.DOTALL)[1]
    said = [re.findall(r"`([a-z_:.]+)`", row.split("|")[2]) for row in table.split("\n")[2:]]
    assert said == [list(scopes) for scopes in FEATURES.values()]
    assert {scope for row in said for scope in row} | {OFFLINE_ACCESS} == set(LABELS)


def settings_table(settings):
    """The table of README as the code has it."""
    names = [name for name, member in vars(Conf).items() if name.isupper() and isinstance(member, property)]
    for name in names:
        if hasattr(settings, name):
            delattr(settings, name)
    rows = [
        f"| `{name}` | {in_words(getattr(Conf(), name))} | {' '.join(inspect.getdoc(vars(Conf)[name]).split())} |"
        for name in names
    ]
    return "\n".join(["| Setting | Default | What it is |", "|---|---|---|", *rows])


def in_words(value):
    match value:
        case bool():
            return f"`{value}`"
        case timedelta():
            for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
                if value.total_seconds() % seconds == 0:
                    count = int(value.total_seconds() // seconds)
                    return f"{count} {unit}{'s' * (count != 1)}"
        case Path():
            return "below the temporary directory"
        case tuple():
            return f"`{' '.join(value)}`" if value else "empty"
        case float():
            return f"{value:g}"
        case str():
            return f"`{value}`"
        case int():
            return f"{value:,}"
    return f"`{value}`"


def test_settings_table_is_that_of_the_code(settings):
    said = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)[1]
    assert said == settings_table(settings)


def test_table_of_checks_is_that_of_the_code():
    rows = dict(
        re.findall(r"^\| `(eprospera\.[EW]\d+)` \| (.*?) \|$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    )
    assert rows == CHECKS


def test_names_that_readme_imports_exist():
    imports = [node for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) for node in ast.walk(ast.parse(code))
               if isinstance(node, ast.ImportFrom) and node.module.startswith("django_eprospera")]  # fmt: skip
    assert len(imports) >= 5
    for node in imports:
        module = importlib.import_module(node.module)
        for each in node.names:
            assert hasattr(module, each.name) or importlib.import_module(f"{node.module}.{each.name}")


def test_commands_fixtures_and_tags_that_the_pages_name_exist():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"\beprospera_(?:[a-z]+_?)+\b", page.read_text())}
    existing = {path.stem for path in (ROOT / "django_eprospera/management/commands").glob("eprospera_*.py")}
    fixtures = {name for name in vars(pytest_plugin) if name.startswith("eprospera_")} | {"eprospera_provider"}
    assert named - existing - fixtures - {"eprospera_access", "eprospera_sign_in"} == set()
