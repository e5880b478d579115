"""A site as docs/workers.md describes it: its files and its commands are those of the page, taken from there word for word."""

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.demo_process import ROOT

PAGE = (ROOT / "docs/workers.md").read_text()
# What the settings of the tests have besides, and where this run's provider is.
SETTINGS = """
import os
from datetime import timedelta

from tests.settings import *

MEDIA_ROOT = os.environ["MYSITE_MEDIA"]
EPROSPERA_BASE_URL = os.environ["MYSITE_PROVIDER"]
SOCIAL_AUTH_EPROSPERA_KEY = os.environ["MYSITE_CLIENT"]
SOCIAL_AUTH_EPROSPERA_SECRET = os.environ["MYSITE_SECRET"]
EPROSPERA_RATE = None  # or every site of a test would work at the same speed
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
"""


def section(heading):
    """The text below a heading of the page, up to the next one."""
    return re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]


def files(heading):
    """The files that a section shows, as (name, text)."""
    return re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", section(heading), re.DOTALL | re.MULTILINE)


def commands(heading):
    """The commands that a section shows, of a shell or a crontab."""
    return re.findall(r"^(?:\$|[\d*/]+ [\d*]+ \* \* \*) +(.+)$", section(heading), re.MULTILINE)


class Site:
    """`mysite`, in a directory of its own, with the files of some sections, on a database and a provider."""

    def __init__(self, directory, sandbox, database_url, *headings):
        self.directory, self.processes = Path(directory), []
        package = self.directory / "mysite"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "settings.py").write_text(SETTINGS)
        for heading in headings:
            for name, text in files(heading):
                with (package / name).open("a") as file:
                    file.write(text)
        (self.directory / "manage.py").write_text("from django.core.management import execute_from_command_line\n"
                                                  "import sys\nexecute_from_command_line(sys.argv)\n")  # fmt: skip
        (self.directory / "media/eprospera").mkdir(parents=True)
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{self.directory}:{ROOT}",
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "DATABASE_URL": database_url,
            "EPROSPERA_TEST_SCRATCH": str(self.directory),
            "MYSITE_MEDIA": str(self.directory / "media"),
            "MYSITE_PROVIDER": sandbox.url,
            "MYSITE_CLIENT": sandbox.client_id,
            "MYSITE_SECRET": sandbox.client_secret,
        }

    def add(self, name, text):
        """Append to a file of the site."""
        with (self.directory / "mysite" / name).open("a") as file:
            file.write(textwrap.dedent(text))

    def run(self, command):
        """Run a command to its end and return what it printed."""
        done = subprocess.run(
            shlex.split(command), cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, command, name):
        """Start a command that stays: a worker or a scheduler. PostgreSQL knows its connections by its name."""
        process = Process(shlex.split(command), self.directory, self.environment | {"PGAPPNAME": name}, name)
        self.processes.append(process)
        return process

    def stop(self):
        """End what was started. Returns the last lines of each."""
        for process in self.processes:
            process.kill()
        return "\n".join(f"{process.command}:\n{process.log()[-3000:]}" for process in self.processes)


class Process:
    """A process with its children, and its log."""

    def __init__(self, command, directory, environment, name):
        self.command = shlex.join(command)
        self.path = directory / f"{name}.log"
        with self.path.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        """SIGKILL for the process and its children."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()

    def log(self):
        return self.path.read_text()

    def synced(self):
        """The ids of the connections whose answers it stored, in its order."""
        return re.findall(r"connection ([\da-f-]{36}): synced", self.log())
