"""A real Chromium on the real demo. Without Chromium these tests say so and stay out, except in CI, where that is a failure."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.demo_process import DemoProcess

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium_path():
    names = os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    if path is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("No Chromium found: the browser tests are left out (Debian: apt install chromium).")
    return path


@pytest.fixture(scope="session")
def demo(chromium_path, tmp_path_factory):
    """The demo, started as `make demo` does, for all browser tests of this process."""
    with DemoProcess(tmp_path_factory.mktemp("demo") / "home") as process:
        yield process


# Not for the whole session: Playwright leaves an event loop in its thread, in which Django refuses to use the database.
@pytest.fixture(scope="module")
def chromium(chromium_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium, demo):
    """Open a browser of one's own: `visitor(locale="es")`. At the end, nothing may have been blocked or gone wrong."""
    contexts, complaints = [], []

    def open_browser(**options):
        options = {"locale": "en", "viewport": {"width": 1200, "height": 900}, **options}
        context = chromium.new_context(base_url=demo.url, **options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        context.on("console", lambda message: complaints.append(f"{message.type}: {message.text} {message.location}")
                   if message.type in {"error", "warning"} and "(Forbidden)" not in message.text else None)  # fmt: skip
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        return page

    yield open_browser
    for context in contexts:
        context.close()
    assert not complaints
