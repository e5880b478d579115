"""The example site in a process of its own, as `manage.py runserver` starts it, spoken to over HTTP only."""

import os
import subprocess
import sys
import threading

from tests.demo_process import KEYS, ROOT, bare_environment, free_ports


class SiteProcess:
    """`with SiteProcess(directory, provider, port) as site:` has `site.url` and `site.output`; `settings` are more lines."""

    def __init__(self, directory, provider, port, settings="", **environment):
        self.url, self.output = f"http://localhost:{port}", []
        self.directory, self.port, self.process = directory, port, None
        (directory / "site_settings.py").write_text(f"from example_project.settings import *\n{settings}\n")
        self.environment = bare_environment() | {
            "EPROSPERA_BASE_URL": provider.url, "EPROSPERA_CLIENT_ID": provider.client_id,
            "EPROSPERA_CLIENT_SECRET": provider.client_secret, "DATABASE_URL": f"sqlite:///{directory}/site.sqlite3",
            "FIELD_ENCRYPTION_KEY": KEYS, "SECRET_KEY": "s" * 50, "ALLOWED_HOSTS": "localhost",
            "MEDIA_ROOT": str(directory), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]), "DJANGO_SETTINGS_MODULE": "site_settings",
            **environment,
        }  # fmt: skip

    def manage(self, *command):
        """Run a management command to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=self.environment, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def __enter__(self):
        migrated = self.manage("migrate", "--verbosity", "0")
        assert migrated.returncode == 0, migrated.stderr
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", str(self.port)], cwd=ROOT, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        )  # fmt: skip
        for line in self.process.stdout:
            self.output.append(line)
            if "Quit the server" in line:
                break
        else:
            raise RuntimeError("".join(self.output))
        threading.Thread(target=self.output.extend, args=(self.process.stdout,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def free_port():
    """A port that nothing listens on."""
    return free_ports(1)[0]
