"""README keeps its word: what it says to type is typed into a fresh project, and its tables and names are those of the code."""

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
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from django_eprospera.checks.table import CHECKS
from django_eprospera.conf import Conf
from tests.demo_process import ROOT, free_ports
from tests.sandbox_process import LUCIA, SandboxProcess, hidden_fields

README = (ROOT / "README.md").read_text()
# What the reader has already: a page of their own, and the route to the view that README shows.
OWN_SETTINGS = '\nTEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]\n'
OWN_URLS = """
from django.views.generic import TemplateView

from mysite.views import members

urlpatterns += [path("", TemplateView.as_view(template_name="home.html")), path("members/", members)]
"""


def block(language, beginning, heading):
    """The one fenced block below a heading that begins so."""
    section = README.split(f"\n{heading}\n")[1].split("\n## ")[0]
    (found,) = [
        code for code in re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL) if code.startswith(beginning)
    ]
    return found


@pytest.fixture
def fresh_project(tmp_path):
    """`django-admin startproject mysite` with the lines of README, running with its commands; stopped as a group."""
    heading = "## Add it to your site"
    environment = {
        name: value for name, value in os.environ.items() if name not in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL"}
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    subprocess.run(["django-admin", "startproject", "mysite", "."], cwd=tmp_path, env=environment, check=True)
    with (tmp_path / "mysite/settings.py").open("a") as file:
        file.write(OWN_SETTINGS + block("python", "# settings.py", heading))
    (tmp_path / "mysite/views.py").write_text(block("python", "# views.py", heading))
    with (tmp_path / "mysite/urls.py").open("a") as file:
        file.write(block("python", "# urls.py", heading) + OWN_URLS)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/home.html").write_text(block("django", "{% load", heading))

    port, sandbox_port = free_ports(2)
    site, provider = f"http://localhost:{port}", f"http://localhost:{sandbox_port}"
    script = re.sub(r"^\$ ", "", block("console", "$ export", heading), flags=re.MULTILINE)
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
        assert "System check identified no issues" in "".join(output)
        yield site, provider
    finally:
        alarm.cancel()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_lines_for_a_site_of_ones_own_work_as_written(fresh_project):
    site, provider = fresh_project
    browser = requests.Session()
    browser.trust_env = False
    home = browser.get(f"{site}/", timeout=60)
    begun = browser.post(
        f"{site}/login/eprospera/", data=dict(hidden_fields(home.text)), allow_redirects=False, timeout=60
    )
    assert begun.headers["Location"].startswith(f"{provider}/api/oauth/authorize?"), begun.text
    sandbox = SandboxProcess(redirect_uris=[f"{site}/complete/eprospera/"])
    sandbox.url = provider
    reached = sandbox.walk(dict(parse_qsl(urlsplit(begun.headers["Location"]).query)), LUCIA)
    page = browser.get(f"{site}/complete/eprospera/", params=reached, timeout=60)
    assert page.url == f"{site}/", page.text
    assert "Hello Lucía" in page.text
    assert browser.get(f"{site}/members/", timeout=60).text == "Welcome, Lucía."
    stylesheet = re.search(r'<link rel="stylesheet" href="([^"]+)">', home.text)[1]
    assert browser.get(site + stylesheet, timeout=60).status_code == 200


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


def test_commands_that_the_pages_name_exist():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    commands = {name for page in pages for name in re.findall(r"\beprospera_(?:[a-z]+_?)+\b", page.read_text())}
    existing = {path.stem for path in (ROOT / "django_eprospera/management/commands").glob("eprospera_*.py")}
    assert commands - existing - {"eprospera_sign_in"} == set()
