"""A real Chromium on the real demo."""

import re

import pytest
from playwright.sync_api import sync_playwright

from tests.chromium import path as chromium_at
from tests.demo_process import DemoProcess

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def chromium_path():
    return chromium_at() or pytest.fail("No Chromium found (Debian: apt install chromium, or name one in CHROMIUM).")


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


def said(message):
    return f"{message.type}: {message.text} {message.location}"


def is_complaint(message):
    """Whether a page itself caused an error or a warning, other than by an answer that the test asks for."""
    by_the_test = not message.location["url"]
    return (
        message.type in {"error", "warning"}
        and not by_the_test
        and not re.search("Forbidden|Bad Request", message.text)
    )


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
        context.on("console", lambda message: complaints.append(said(message)) if is_complaint(message) else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        return page

    yield open_browser
    for context in contexts:
        context.close()
    assert not complaints
