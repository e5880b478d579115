"""The demo's data directory, with the secrets that the first run creates. Readable by its owner only. No Django."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.fernet import Fernet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["CLIENT_ID", "REVIEWER", "Home"]

CLIENT_ID: Final = "example-site"
REVIEWER: Final = "reviewer"


class Home:
    """Directory of `secrets.json`, and per sandbox port of a database, sealed files, the sandbox's state, and logs.

    The sandbox's address is its issuer, so accounts created on one port do not exist on another.
    """

    def __init__(self, path: Path, *, sandbox_port: int) -> None:
        self.provider = f"http://localhost:{sandbox_port}"
        self.path = path.absolute()
        self.data = self.path / str(sandbox_port)
        self.is_new = not self.data.exists()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        for name in ("media", "sandbox", "logs"):
            (self.data / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.secrets = self._read_secrets() if (self.path / "secrets.json").exists() else self._make_secrets()

    def log(self, name: str) -> Path:
        """Return the log file of one of the demo's processes."""
        return self.data / "logs" / f"{name}.log"

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the example site. `DATABASE_URL` in `given` has precedence."""
        return {
            **given,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "PYTHONUNBUFFERED": "1",
            "EPROSPERA_BASE_URL": self.provider,
            "EPROSPERA_CLIENT_ID": CLIENT_ID,
            "EPROSPERA_CLIENT_SECRET": self.secrets["client_secret"],
            "EPROSPERA_SCOPE": "",
            "DATABASE_URL": given.get("DATABASE_URL") or f"sqlite:///{self.data / 'site.sqlite3'}",
            "FIELD_ENCRYPTION_KEY": self.secrets["field_encryption_key"],
            "EPROSPERA_SIGNING_KEY": self.secrets.get("signing_key", ""),  # a demo of an earlier version has none
            "SECRET_KEY": self.secrets["secret_key"],
            "DEBUG": "",  # no error page shows settings or local variables
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "MEDIA_ROOT": str(self.data / "media"),
            "TASK_BACKEND": "django_tasks_db.DatabaseBackend",
        }

    def _make_secrets(self) -> dict[str, str]:
        made = {
            "secret_key": secrets.token_urlsafe(50),
            "field_encryption_key": Fernet.generate_key().decode(),
            "signing_key": Fernet.generate_key().decode(),
            "client_secret": secrets.token_urlsafe(32),
            "reviewer_password": "-".join(secrets.token_hex(2) for _ in range(4)),
        }
        # Written completely or not at all, so that an interrupted first run can be repeated.
        part = self.path / "secrets.json.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(made, file)
        part.replace(self.path / "secrets.json")
        return made

    def _read_secrets(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.path / "secrets.json").read_text())
        return found
