"""Any user model that Django accepts works. Settings choose one, so this runs the suite of `other_users` in its own process."""

import os
import subprocess
import sys
from pathlib import Path


def test_users_with_a_uuid_and_an_email_address_and_no_name(tmp_path):
    suite = [
        "-m", "pytest", "-q", "--ds=tests.other_users.settings", "-p", "no:randomly", "-p", "no:cacheprovider",
        "tests/other_users/suite.py",
    ]  # fmt: skip
    environment = {**os.environ, "EPROSPERA_TEST_SCRATCH": str(tmp_path)}
    for name in ("DJANGO_SETTINGS_MODULE", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *suite], cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
