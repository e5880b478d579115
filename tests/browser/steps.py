"""What a visitor does, in one place: the steps that several browser tests share."""

from playwright.sync_api import expect


def sign_in(page, persona, *, allow=True, start="/"):
    """From the button through the sandbox's two pages and back."""
    page.goto(start)
    page.locator('form[action*="/login/eprospera/"] button').first.click()
    choose(page, persona)
    answer(page, allow=allow)


def choose(page, persona):
    """The sandbox's sign-in page, which it leaves out for somebody whom it knows already."""
    page.locator('[name="sub"], [name="answer"]').first.wait_for()
    if page.locator('[name="sub"]').count():
        page.locator(f'[name="sub"][value="{persona}"]').click()


def answer(page, *, allow=True):
    """The sandbox's consent page."""
    page.locator(f'[name="answer"][value="{"allow" if allow else "deny"}"]').click()


def wait_for_data(page):
    """The account page looks again by itself until the first sync is through."""
    expect(page.locator('meta[http-equiv="refresh"]')).to_have_count(0, timeout=30_000)


def sign_in_reviewer(page, demo):
    """The admin's own login."""
    page.goto("/admin/login/?next=/admin/")
    page.locator("[name=username]").fill(demo.reviewer)
    page.locator("[name=password]").fill(demo.password)
    page.locator("[type=submit]").click()
