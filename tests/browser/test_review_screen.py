"""The review screen in a real browser: nothing is blocked, it fits, and the keyboard alone is enough to decide."""

import re

from playwright.sync_api import expect

from tests.browser.steps import sign_in, sign_in_reviewer, wait_for_data
from tests.browser.test_everybody import press_until_focused
from tests.sandbox_process import JOSE

LOOKS = [
    {}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 780}}, {"viewport": {"width": 2200, "height": 1200}},
    {"java_script_enabled": False}, {"locale": "es"},
]  # fmt: skip


def test_the_screen_fits_everybody_and_takes_nothing_but_the_keyboard(visitor, demo):
    person = visitor()
    sign_in(person, JOSE)
    wait_for_data(person)
    page = visitor()
    sign_in_reviewer(page, demo)
    page.goto("/admin/django_eprospera/review/?status=all&subject_kind__exact=person")
    for link in page.locator("#result_list tbody th a").evaluate_all("links => links.map(each => each.href)"):
        page.goto(link)
        if "José" in page.locator("h1").last.inner_text():
            break
    expect(page.locator("h1").last).to_contain_text("José")

    session = page.context.storage_state()
    for look in LOOKS:
        screen = visitor(storage_state=session, **look)
        screen.goto(page.url)
        assert screen.evaluate("document.documentElement.scrollWidth <= innerWidth"), look
        pictures = screen.locator(".eprospera-pictures img")
        widths = pictures.evaluate_all("images => images.map(each => each.complete && each.naturalWidth)")
        assert widths, look
        assert all(width > 100 for width in widths), look
        if look.get("viewport", {}).get("width") != 360:
            tops = screen.locator(".eprospera-pictures figure").evaluate_all(
                "figures => figures.map(each => each.getBoundingClientRect().top)"
            )
            assert max(tops) - min(tops) < 2, "selfie, front and back stand side by side"
        screen.context.close()

    # A group of radio buttons is one stop; the arrows choose.
    press_until_focused(page, page.locator("#outcome-approved"))
    page.keyboard.press("ArrowDown")
    expect(page.locator("#outcome-rejected")).to_be_checked()
    press_until_focused(page, page.get_by_role("button", name="Decide"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Give a reason")
    expect(page.locator("#reason")).to_be_focused()
    page.keyboard.type("The picture is not legible.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".messagelist")).to_contain_text(re.compile("Decided: rejected"))
