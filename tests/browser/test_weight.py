"""No page is heavy, whatever the size of the files that a person could open from it."""

import pytest
import requests

from tests.browser.steps import sign_in, sign_in_reviewer, wait_for_data
from tests.sandbox_process import LUCIA

MOST = 150_000
FILE = 5_000_000
ADMIN = "/admin/django_eprospera"


@pytest.fixture
def large_files(demo):
    """The provider sends pictures of megabytes."""

    def switch(size):
        answer = requests.post(f"{demo.sandbox_url}/_sandbox/switches", json={"image_bytes": size}, timeout=60)
        answer.raise_for_status()

    switch(FILE)
    yield
    switch(0)


def weigh(page, path):
    """Open a page, with all that it loads by itself. Returns the bytes of all bodies, uncompressed, and which they are of."""
    bodies = {}

    def keep(response):
        if response.ok:
            bodies[response.url] = len(response.body())

    page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.on("response", keep)
    page.goto(path)
    for image in page.locator("main img, #content img, .who img, .pictures img").all():
        image.scroll_into_view_if_needed()  # loading="lazy"
    page.wait_for_load_state("networkidle")
    page.remove_listener("response", keep)
    return sum(bodies.values()), bodies


def test_pages_are_small_although_the_files_are_large(visitor, demo, large_files):
    # Her pictures may be those of an earlier test: they are fetched anew for a new connection.
    earlier, person, reviewer = visitor(), visitor(), visitor()
    sign_in(earlier, LUCIA)
    wait_for_data(earlier)
    earlier.goto("/eprospera/disconnect/")
    earlier.get_by_role("button", name="Disconnect").click()
    sign_in(person, LUCIA)
    wait_for_data(person)
    sign_in_reviewer(reviewer, demo)
    review = f"{ADMIN}/review/?status=all&subject_kind__exact=person"
    reviewer.goto(review)
    first = reviewer.locator("#result_list tbody th a").first.get_attribute("href")
    reviewer.goto(f"{ADMIN}/auditentry/")
    entry = reviewer.locator("#result_list tbody th a").first.get_attribute("href")
    pages = [(person, path) for path in ("/", "/account/", "/members/", "/eprospera/disconnect/")]
    pages += [
        (reviewer, path)
        for path in (
            "/admin/", f"{ADMIN}/", f"{ADMIN}/connection/status/", f"{ADMIN}/review/", review, first, entry,
            *(f"{ADMIN}/{model}/" for model in (
                "connection", "naturalperson", "residency", "idverification", "legalentity", "pendingrevocation",
                "auditentry", "decision",
            )),
        )
    ]  # fmt: skip
    heavy, seen = {}, {}
    for page, path in pages:
        size, seen[path] = weigh(page, path)
        if size > MOST:
            heavy[path] = size, seen[path]
    assert not heavy
    for path in ("/account/", first):
        small = [url for url in seen[path] if url.endswith("/small/")]
        assert len(small) == 3, f"{path} shows three pictures"
        assert not [url for url in seen[path] if "/image/" in url and url not in small]
    person.goto("/account/")
    opened = person.request.get(person.locator(".pictures a").first.get_attribute("href"))
    assert len(opened.body()) == FILE, "the file itself is what it was"
