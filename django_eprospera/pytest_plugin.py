"""Plugin for pytest: the kit of docs/testing.md as fixtures. pytest loads it by its entry point.

It imports nothing of Django or of this package until a fixture is used, or a test runs in a project that has this app.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from django_eprospera.testing.clock import Clock
    from django_eprospera.testing.kit import Kit
    from django_eprospera.testing.sandbox import Sandbox

__all__: list[str] = []

_MARKER = "eprospera_provider"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that may reach the provider."""
    config.addinivalue_line(
        "markers", f"{_MARKER}: may send requests to the provider of the settings, on another machine"
    )


def _guard() -> Any:
    """Return the guard, or None in a project without this app."""
    registry = getattr(sys.modules.get("django.apps"), "apps", None)
    if registry is None or not registry.ready or not registry.is_installed("django_eprospera"):
        return None
    from django_eprospera.testing.guard import guard  # models are loaded

    return guard


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch over the test and its fixtures."""
    guard = _guard()
    if guard is not None and item.get_closest_marker(_MARKER) is None:
        guard.start()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:  # noqa: ARG001 - pytest's names
    """Fail a test that passed although it would have reached the provider."""
    try:
        result = yield
    except AssertionError as error:
        if (guard := _guard()) is not None and isinstance(error, guard.error):
            guard.forget()  # the failure says it already
        raise
    if (guard := _guard()) is not None:
        guard.check()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:  # noqa: ARG001 - pytest's names
    """Report what the fixtures did, and the request that made a test fail for another reason."""
    result = yield
    if (guard := _guard()) is not None:
        guard.stop()
        guard.check()
    return result


@pytest.fixture
def _eprospera_kit(request: pytest.FixtureRequest, db: None, settings: Any) -> Generator[Kit]:  # noqa: ARG001 - db is needed
    live_server = request.getfixturevalue("live_server") if "live_server" in request.fixturenames else None
    from django_eprospera.testing.kit import Kit  # Django is set up

    def change(**values: Any) -> None:
        for name, value in values.items():
            setattr(settings, name, value)

    kit = Kit(change, live_server.url if live_server else "")
    yield kit
    kit.close()


@pytest.fixture
def eprospera_sandbox(_eprospera_kit: Kit) -> Sandbox:
    """The sandbox of this process, reset, as the provider of the settings."""
    return _eprospera_kit.sandbox


@pytest.fixture
def eprospera_login(_eprospera_kit: Kit) -> Callable[..., Any]:
    """`eprospera_login(client, "lucia", companies=["kites"])` signs in and returns the user, whose first sync is done."""
    return _eprospera_kit.login


@pytest.fixture
def eprospera_user(_eprospera_kit: Kit) -> Callable[..., Any]:
    """`eprospera_user(residency="Resident", kyc="approved")` returns a user without any network."""
    return _eprospera_kit.user


@pytest.fixture
def eprospera_faults(eprospera_sandbox: Sandbox) -> Callable[..., Any]:
    """`eprospera_faults("/api/v1/me/*", status=503)` makes the sandbox fail."""
    return eprospera_sandbox.fault


@pytest.fixture
def eprospera_clock(_eprospera_kit: Kit) -> Clock:
    """The clock of the site and the sandbox: `eprospera_clock.move(timedelta(days=30))`."""
    return _eprospera_kit.clock
