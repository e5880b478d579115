"""One sandbox for all these tests, reset before each."""

from __future__ import annotations

import pytest

from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def sandbox_process():
    """A running sandbox with two redirect URIs, one of which has a query."""
    uris = ("http://localhost:8000/complete/eprospera/", "http://127.0.0.1:8000/back?from=eprospera&code=mine")
    with SandboxProcess(redirect_uris=uris) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process):
    """The sandbox, reset to its state at the start."""
    sandbox_process.control("reset")
    return sandbox_process
