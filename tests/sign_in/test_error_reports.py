"""What ADMINS are mailed of an error at the callback: neither the authorization code nor the state."""

from urllib.parse import parse_qs, urlsplit

from tests.conftest import assert_not_in
from tests.sign_in.steps import DEFAULT

STEPS = "tests.sign_in.steps"


def secrets_of(address):
    query = parse_qs(urlsplit(address).query)
    return [query["code"][0], query["state"][0]]


def test_a_broken_pipeline_reports_no_code(visitor, settings, reports):
    settings.SOCIAL_AUTH_EPROSPERA_PIPELINE = (*DEFAULT, f"{STEPS}.break_down")
    address = visitor.visit_provider(visitor.begin())
    assert visitor.get(address).status_code == 500
    assert reports()
    assert_not_in(reports(), secrets_of(address))


def test_a_broken_session_table_reports_no_code(visitor, reports, broken_table):
    """It fails before the code is redeemed: whoever reads the mail could have used it."""
    address = visitor.visit_provider(visitor.begin())
    with broken_table("django_session"):
        assert visitor.get(address).status_code == 500
    assert reports()
    assert_not_in(reports(), secrets_of(address))


def test_a_site_step_still_gets_its_own_parameters(visitor, settings):
    settings.SOCIAL_AUTH_EPROSPERA_PIPELINE = (*DEFAULT, f"{STEPS}.ask_for_terms")
    address = visitor.visit_provider(visitor.begin())
    assert visitor.get(f"{address}&agreed=1").status_code == 302
    assert visitor.whoami()


def test_the_next_page_is_not_told_the_code(visitor):
    """A browser would send the address of the error page, with the code, as Referer."""
    address = visitor.visit_provider(visitor.begin())
    visitor.http.cookies.clear()
    answer = visitor.get(address)
    assert answer.status_code >= 400
    assert answer.headers["Referrer-Policy"] == "strict-origin"
