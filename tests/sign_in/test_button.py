"""The template tag: a form that works without scripts, leads only into this site, and can be found by everybody."""

import re

import pytest

from django_eprospera.templatetags.eprospera import eprospera_sign_in
from tests.visitor import text_of


def fields(page):
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))


def button(visitor, tag, **query):
    page = visitor.get("/button/", params={"tag": tag, **query})
    assert page.status_code == 200, page.text
    return page


def test_it_posts_to_the_begin_with_a_csrf_token(visitor):
    page = button(visitor, "{% eprospera_sign_in %}")
    assert '<form class="eprospera-sign-in" method="post" action="/login/eprospera/">' in page.text
    assert fields(page).keys() == {"csrfmiddlewaretoken"}
    assert text_of(page) == "Sign in with e-Próspera"


def test_it_begins_a_sign_in(visitor, provider):
    posted = fields(button(visitor, "{% eprospera_sign_in next='/button/?a=1' %}"))
    answer = visitor.http.post(visitor.absolute("/login/eprospera/"), data=posted, allow_redirects=False, timeout=60)
    assert visitor.get(visitor.visit_provider(answer)).headers["Location"] == "/button/?a=1"


def test_it_takes_the_next_of_its_page(visitor):
    assert fields(button(visitor, "{% eprospera_sign_in %}", next="/members/"))["next"] == "/members/"


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_it_does_not_take_a_next_that_leads_elsewhere(visitor, target):
    assert "next" not in fields(button(visitor, "{% eprospera_sign_in %}", next=target))


def test_its_own_next_comes_before_that_of_its_page(visitor):
    assert fields(button(visitor, "{% eprospera_sign_in next='/own/' %}", next="/page/"))["next"] == "/own/"


def test_label_prompt_and_max_age_can_be_chosen(visitor):
    page = button(
        visitor, "{% eprospera_sign_in label=request.GET.label prompt='consent' max_age=0 %}", label="Share <more>"
    )
    assert "<span>Share &lt;more&gt;</span>" in page.text
    assert (fields(page)["prompt"], fields(page)["max_age"]) == ("consent", "0")


def test_a_large_max_age_is_written_without_thousands_separators(visitor, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    assert fields(button(visitor, "{% eprospera_sign_in max_age=86400 %}"))["max_age"] == "86400"


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        ("", "eprospera-button"),
        ("theme='auto' variant='filled'", "eprospera-button"),
        ("theme='dark'", "eprospera-button eprospera-dark"),
        ("theme='light' variant='outline'", "eprospera-button eprospera-outline eprospera-light"),
    ],
)
def test_theme_and_variant_can_be_chosen(visitor, options, classes):
    assert f'<button class="{classes}" type="submit">' in button(visitor, f"{{% eprospera_sign_in {options} %}}").text


@pytest.mark.parametrize("option", ["theme", "variant"])
def test_another_theme_or_variant_is_a_clear_error(option):
    with pytest.raises(ValueError, match=f"{option} must be one of .*, not 'pink'"):
        eprospera_sign_in({}, **{option: "pink"})


def test_it_is_a_button_with_a_name_and_a_hidden_picture_and_no_script_or_style(visitor):
    page = button(visitor, "{% eprospera_sign_in %}")
    assert '<button class="eprospera-button" type="submit">' in page.text
    assert 'aria-hidden="true" focusable="false"' in page.text
    assert not re.search(r"<script|<style| style=| on\w+=", page.text)


def test_the_stylesheet_is_served_with_focus_dark_and_forced_colours(visitor):
    css = visitor.get("/static/django_eprospera/eprospera.css").text
    for feature in (":focus-visible", "light-dark(", "forced-colors: active"):
        assert feature in css
