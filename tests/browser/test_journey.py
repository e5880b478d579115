"""The whole way in a real browser: sign-in, consent, account, gates, review, vault, disconnect."""

import pytest
from playwright.sync_api import expect

from tests.browser.steps import answer, choose, sign_in, sign_in_reviewer, wait_for_data
from tests.sandbox_process import ANA, LARS, LUCIA, MIRJAM, NADIA, OTTO, ROBIN, SAMUEL, TEO, WULANDARI


def decide(page, demo, name, outcome, reason):
    """Open the queue as the reviewer, find the person of that name and decide."""
    sign_in_reviewer(page, demo)
    page.get_by_role("link", name="KYC reviews").first.click()
    page.locator("#result_list tbody a").first.click()
    for _ in range(30):
        heading = page.locator("#content h1")
        heading.wait_for()
        if name in heading.inner_text():
            break
        with page.expect_navigation():
            page.get_by_role("link", name="Next in queue").click()
    expect(heading).to_contain_text(name)
    page.get_by_label(outcome, exact=True).check()
    page.get_by_label("Reason").fill(reason)
    with page.expect_navigation():
        page.get_by_role("button", name="Decide").click()
    expect(page.locator(".messagelist")).to_be_visible()


def test_resident_signs_in_is_approved_and_enters_the_vault(visitor, demo):
    page = visitor()
    sign_in(page, LUCIA)
    expect(page).to_have_url(f"{demo.url}/account/")
    expect(page.get_by_text("lucia.ejemplo@example.test")).to_be_visible()
    wait_for_data(page)
    expect(page.get_by_text("••••••••••4217")).to_be_visible()
    expect(page.get_by_text("Islas de la Bahía, 34101, Honduras")).to_be_visible()
    expect(page.get_by_text("June 15, 2021")).to_be_visible()
    expect(page.locator(".pictures img")).to_have_count(3)
    assert all(page.locator(".pictures img").evaluate_all("images => images.map(each => each.naturalWidth > 100)"))
    assert page.locator("#companies ~ .cards > .card").count() == 3
    assert "token" not in page.locator("main").inner_text().lower()
    for time in page.locator("main time").all_inner_texts():
        assert time.endswith(" CST"), "a time without its zone"

    page.goto("/members/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, resident")
    refused = page.goto("/vault/")
    assert refused.status == 403
    expect(page.get_by_text("Your identity is being reviewed.")).to_be_visible()

    decide(visitor(), demo, "Lucía", "Approve", "Selfie and document show the same person.")
    assert page.reload().status == 200
    expect(page.get_by_role("heading", level=1)).to_have_text("The vault is open")


def test_rejected_person_reads_why(visitor, demo):
    page = visitor()
    sign_in(page, WULANDARI)
    wait_for_data(page)
    decide(visitor(), demo, "Wulandari", "Reject", "The document is not legible.")
    assert page.goto("/vault/").status == 403
    expect(page.get_by_text("The document is not legible.")).to_be_visible()


def test_denied_consent_leads_to_a_page_that_offers_another_try(visitor, demo):
    page = visitor()
    sign_in(page, SAMUEL, allow=False)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.goto("/account/").url == f"{demo.url}/"
    sign_in(page, SAMUEL)
    expect(page).to_have_url(f"{demo.url}/account/")


@pytest.mark.parametrize(
    ("persona", "status"),
    [
        pytest.param(SAMUEL, 200, id="e-resident"),
        pytest.param(MIRJAM, 200, id="visitor", marks=pytest.mark.thorough),
        pytest.param(OTTO, 403, id="ended", marks=pytest.mark.thorough),
        pytest.param(NADIA, 403, id="never"),
    ],
)
def test_members_page_opens_for_residents_only(visitor, persona, status):
    page = visitor()
    sign_in(page, persona)
    wait_for_data(page)
    assert page.goto("/members/").status == status


def test_person_without_identity_check_reads_what_is_missing(visitor):
    page = visitor()
    sign_in(page, TEO)
    wait_for_data(page)
    expect(page.get_by_text("No e-mail address was shared")).to_be_visible()
    assert page.goto("/vault/").status == 403
    expect(page.get_by_text("cannot be reviewed yet")).to_be_visible()


def test_markup_in_a_name_stays_text(visitor):
    page = visitor()
    sign_in(page, ROBIN)
    wait_for_data(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("<b>")


def test_person_refreshes_shares_other_companies_and_disconnects(visitor, demo):
    page = visitor()
    page.goto("/")
    page.locator('form[action*="/login/eprospera/"] button').first.click()
    choose(page, LUCIA)
    for box in page.locator('[name="entity"]').all()[1:]:
        box.uncheck()
    answer(page)
    wait_for_data(page)
    cards = page.locator("#companies ~ .cards > .card")
    expect(cards).to_have_count(1)

    page.get_by_role("button", name="Share other companies").click()
    choose(page, LUCIA)
    answer(page)
    expect(page).to_have_url(f"{demo.url}/account/")
    wait_for_data(page)
    expect(cards).to_have_count(3)

    page.get_by_role("button", name="Refresh now").click()
    expect(page.locator(".messages")).to_be_visible()

    page.get_by_role("link", name="Disconnect").click()
    expect(page.get_by_text("your identity check, with its pictures")).to_be_visible()
    page.get_by_role("link", name="Keep the connection").click()
    expect(page).to_have_url(f"{demo.url}/")
    page.goto("/account/")
    page.get_by_role("link", name="Disconnect").click()
    page.get_by_role("button", name="Disconnect").click()
    expect(page).to_have_url(f"{demo.url}/")
    page.goto("/account/")
    expect(page.get_by_text("not connected with e-Próspera")).to_be_visible()


def test_withdrawal_follows_a_sign_in_of_a_moment_ago(visitor, demo):
    page = visitor()
    sign_in(page, ANA)
    wait_for_data(page)
    decide(visitor(), demo, "Ana", "Approve", "All is well.")
    page.goto("/vault/withdraw/")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.locator(".messages")).to_contain_text("Withdrawn.")


def test_person_deletes_the_account(visitor, demo):
    page = visitor()
    sign_in(page, LARS)
    wait_for_data(page)
    page.get_by_role("link", name="Delete the account").click()
    page.get_by_role("button", name="Delete the account").click()
    expect(page).to_have_url(f"{demo.url}/")
    expect(page.locator(".messages")).to_contain_text("Your account was deleted.")
    expect(page.get_by_role("button", name="Sign in with e-Próspera")).to_be_visible()
    sign_in(page, LARS)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Lars")


def test_refused_person_signs_in_as_somebody_else(visitor, demo):
    page = visitor()
    sign_in(page, NADIA)
    wait_for_data(page)
    page.goto("/members/")
    page.get_by_role("button", name="Sign out, and sign in as somebody else").click()
    page.get_by_role("button", name="Sign in with e-Próspera").click()
    page.locator(f'[name="sub"][value="{SAMUEL}"]').click()
    answer(page)
    expect(page).to_have_url(f"{demo.url}/members/")


def test_sign_out_ends_the_session(visitor, demo):
    page = visitor()
    sign_in(page, SAMUEL)
    page.get_by_role("button", name="Sign out").click()
    assert page.goto("/account/").url == f"{demo.url}/"
