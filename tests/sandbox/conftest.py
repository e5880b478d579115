"""One sandbox for all these tests, set back before each."""

from __future__ import annotations

import pytest

from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def sandbox_process():
    """A running sandbox with two registered redirect URIs, one of which has a query of its own."""
    uris = ("http://localhost:8000/complete/eprospera/", "http://127.0.0.1:8000/back?from=eprospera&code=mine")
    with SandboxProcess(redirect_uris=uris) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process):
    """The sandbox as it was when it started."""
    sandbox_process.control("reset")
    return sandbox_process
