"""The same way for everybody: by keyboard, without JavaScript, in Spanish, in the dark, on a phone."""

import pytest
from playwright.sync_api import expect

from tests.browser.steps import sign_in, sign_in_reviewer, wait_for_data
from tests.sandbox_process import ANA, JOSE, LUCIA


def press_until_focused(page, locator):
    """Walk with Tab until the element has the focus, as somebody without a mouse does."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if locator.evaluate("element => element === document.activeElement"):
            outline = locator.evaluate("element => getComputedStyle(element).outlineStyle")
            assert outline != "none", "the focus is not visible"
            return
    raise AssertionError(f"{locator} is not reachable with Tab")


def test_sign_in_works_with_the_keyboard_alone(visitor, demo):
    page = visitor()
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    press_until_focused(page, page.locator('form[action*="/login/eprospera/"] button').first)
    page.keyboard.press("Enter")
    press_until_focused(page, page.locator(f'[name="sub"][value="{JOSE}"]'))
    page.keyboard.press("Enter")
    press_until_focused(page, page.locator('[name="answer"][value="allow"]'))
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{demo.url}/account/")
    wait_for_data(page)
    press_until_focused(page, page.get_by_role("link", name="Disconnect"))


def test_everything_works_without_javascript(visitor, demo):
    page = visitor(java_script_enabled=False)
    sign_in(page, LUCIA)
    expect(page).to_have_url(f"{demo.url}/account/")
    wait_for_data(page)
    expect(page.get_by_text("••••••••••4217")).to_be_visible()
    page.goto("/members/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, resident")
    reviewer = visitor(java_script_enabled=False)
    sign_in_reviewer(reviewer, demo)
    reviewer.goto("/admin/django_eprospera/review/")
    expect(reviewer.locator("#result_list")).to_be_visible()


def test_button_follows_the_page_and_not_the_system(visitor):
    page = visitor(color_scheme="dark")
    page.goto("/")
    button = page.locator(".eprospera-button").first
    ground = "element => getComputedStyle(element).backgroundColor"
    light, dark = "rgb(20, 83, 45)", "rgb(134, 217, 163)"
    assert button.evaluate(ground) == dark, "this page follows the system"
    page.evaluate("document.documentElement.style.colorScheme = 'light'")
    assert button.evaluate(ground) == light, "a light page on a dark system"
    button.evaluate("element => element.classList.add('eprospera-dark')")
    assert button.evaluate(ground) == dark, "theme=dark"
    button.evaluate("element => element.classList.add('eprospera-outline')")
    assert button.evaluate(ground) == "rgba(0, 0, 0, 0)"


def test_spanish_browser_reads_spanish(visitor):
    page = visitor(locale="es")
    page.goto("/")
    assert page.locator("html").get_attribute("lang") == "es"
    expect(page.locator('form[action*="/login/eprospera/"] button').first).not_to_contain_text("Sign in")
    sign_in(page, ANA)
    wait_for_data(page)
    expect(page.get_by_role("heading", name="Datos personales")).to_be_visible()
    page.goto("/vault/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert "Your identity" not in page.content()


@pytest.mark.parametrize("options", [
    {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 780}}, {"viewport": {"width": 2200, "height": 1200}},
], ids=["dark", "phone", "wide"])  # fmt: skip
def test_pages_fit(visitor, options):
    page = visitor(**options)
    sign_in(page, LUCIA)
    wait_for_data(page)
    for path in ("/", "/account/", "/members/", "/vault/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than the screen"
        ink, ground = page.evaluate(
            """() => { const style = getComputedStyle(document.body);
                       const light = colour => colour.match(/\\d+/g).slice(0, 3).reduce((sum, each) => sum + +each, 0) / 3;
                       return [light(style.color), light(style.backgroundColor)] }"""
        )
        assert ink > ground + 120 if options.get("color_scheme") == "dark" else ground > ink + 120
