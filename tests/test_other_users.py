"""Any user model that Django accepts works. Settings choose one, so this runs a suite for each in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "suite",
    [
        pytest.param("other_users", marks=pytest.mark.thorough, id="a-uuid-and-an-email-address-and-no-name"),
        pytest.param("other_users.optional_email", id="an-email-address-that-is-unique-or-null"),
    ],
)
def test_users_with(suite, tmp_path):
    command = [
        "-m", "pytest", "-q", f"--ds=tests.{suite}.settings", "-p", "no:randomly", "-p", "no:cacheprovider",
        f"tests/{suite.replace('.', '/')}/suite.py",
    ]  # fmt: skip
    environment = {**os.environ, "EPROSPERA_TEST_SCRATCH": str(tmp_path)}
    for name in ("DJANGO_SETTINGS_MODULE", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *command], cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
