"""A site's own pipeline: our step joins it, a pause keeps the tokens sealed, and a failure leaves nothing half stored."""

import base64
import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_login_failed
from django.db import connection as database
from social_django.models import Partial, UserSocialAuth

from django_eprospera.models import Connection
from django_eprospera.pipeline import store_connection
from tests.hostile_provider import Reply
from tests.sign_in import steps
from tests.sign_in.refusal import assert_nothing_happened
from tests.visitor import Visitor

HERE = "tests.sign_in.steps."
STEP = "django_eprospera.pipeline.store_connection"


@pytest.fixture
def pipeline(settings):
    """Sets the site's pipeline: the default steps, and after them the named ones of `steps`."""
    steps.seen.clear()

    def choose(*names, before=0):
        ours = [name if "." in name else HERE + name for name in names]
        default = list(steps.DEFAULT)
        at = len(default) - before
        settings.SOCIAL_AUTH_PIPELINE = [*default[:at], *ours, *default[at:]]

    return choose


def raw_partials():
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM social_auth_partial")
        return str(cursor.fetchall())


def test_a_pipeline_without_our_step_gets_it(visitor, provider, pipeline):
    pipeline("look")
    assert visitor.sign_in().status_code == 302
    assert Connection.objects.count() == 1
    assert len(steps.seen) == 1


def test_a_pipeline_with_our_step_keeps_its_place(visitor, provider, pipeline):
    pipeline(STEP, "count_connections")
    assert visitor.sign_in().status_code == 302
    row = Connection.objects.get()
    assert (row.generation, steps.seen) == (1, ["after"])


def test_our_step_does_nothing_in_a_sign_in_with_somebody_else():
    class Other:
        name = "another"

    assert store_connection(Other(), uid="x", user=None, response={}) is None


def test_no_step_is_given_a_token(visitor, provider, pipeline):
    pipeline("look")
    visitor.sign_in()
    given = {name: value for name, value in steps.seen[0].items() if name not in {"backend", "strategy", "storage"}}
    assert given["response"]["email"] == provider.person["email"]
    tokens = [canary for canary in provider.canaries if canary.startswith(("at-", "rt-", "eyJ"))]
    assert len(tokens) == 3
    for token in tokens:
        assert token not in str(given)
        assert token not in str(vars(given["user"])) + str(vars(steps.seen[0]["backend"]))


def test_who_listens_for_failed_sign_ins_is_given_no_token(visitor, provider, pipeline):
    """Django tells `user_login_failed` what `authenticate` was given when no backend finds a user."""
    heard = []

    def listen(credentials, **_):
        heard.append(str(credentials))

    user_login_failed.connect(listen)
    pipeline("find_nobody", before=3)
    visitor.sign_in()
    user_login_failed.disconnect(listen)
    for token in (canary for canary in provider.canaries if canary.startswith(("at-", "rt-", "eyJ"))):
        assert token not in "".join(heard)


def test_a_paused_sign_in_goes_on_where_it_paused(visitor, provider, pipeline):
    pipeline("ask_for_terms", before=4)
    asked = visitor.sign_in(next="/button/")
    assert (asked.status_code, asked.text) == (200, "Do you agree?")
    assert visitor.whoami() == ""
    assert not get_user_model().objects.exists()
    done = visitor.get("/complete/eprospera/?agreed=1")
    assert (done.status_code, done.headers["Location"]) == (302, "/button/")
    row = Connection.objects.get()
    assert row.user.username == visitor.whoami() != ""
    assert str(row.access_token) in provider.canaries
    assert str(row.refresh_token) in provider.canaries
    assert not Partial.objects.exists()


def test_a_paused_sign_in_lies_sealed(visitor, provider, pipeline):
    pipeline("ask_for_terms", before=4)
    visitor.sign_in()
    lying = raw_partials()
    assert "eprospera_sealed" in lying
    for canary in provider.canaries:
        assert canary not in lying
    assert Partial.objects.get().kwargs["details"]["email"] == provider.person["email"]


def test_a_paused_sign_in_stays_sealed_when_it_is_saved_again(visitor, provider, pipeline):
    pipeline("ask_for_terms", before=4)
    visitor.sign_in()
    row = Partial.objects.get()
    row.kwargs["more"] = "canary-more"
    row.save()
    assert row.kwargs["more"] == "canary-more"
    assert "canary-more" not in raw_partials()
    assert Partial.objects.get().kwargs["more"] == "canary-more"


def test_a_paused_sign_in_can_be_listed_without_its_data(visitor, provider, pipeline):
    pipeline("ask_for_terms", before=4)
    visitor.sign_in()
    assert [row.backend for row in Partial.objects.only("backend")] == ["eprospera"]


def test_a_pause_of_another_provider_is_left_alone(site):
    Partial.objects.create(token="1", backend="another", data={"kwargs": {"x": 1}})
    assert json.dumps({"kwargs": {"x": 1}}) in raw_partials()
    assert Partial.objects.get().data == {"kwargs": {"x": 1}}


def test_a_pause_that_does_not_open_any_more_ends_on_a_page(visitor, provider, pipeline, settings, caplog):
    pipeline("ask_for_terms", before=4)
    visitor.sign_in()
    settings.FIELD_ENCRYPTION_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
    page = visitor.get("/complete/eprospera/?agreed=1")
    assert_nothing_happened(visitor, caplog, provider, page, "session_context_missing")


def test_a_pause_moved_to_another_row_does_not_open(visitor, provider, pipeline, caplog, site):
    """Whoever can write to the table cannot hand somebody else's sign-in to a browser."""
    pipeline("ask_for_terms", before=4)
    Visitor(site).sign_in()
    visitor.sign_in()
    first, second = Partial.objects.order_by("pk").values_list("pk", flat=True)
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE social_auth_partial SET data = (SELECT data FROM social_auth_partial WHERE id = %s) WHERE id = %s",
            [first, second],
        )
        cursor.execute("DELETE FROM social_auth_partial WHERE id = %s", [first])
    page = visitor.get("/complete/eprospera/?agreed=1")
    assert_nothing_happened(visitor, caplog, provider, page, "session_context_missing")


def test_another_browser_cannot_go_on_with_a_paused_sign_in(visitor, provider, pipeline, site):
    pipeline("ask_for_terms", before=4)
    visitor.sign_in()
    other = Visitor(site)
    token = Partial.objects.get().token
    other.get(f"/complete/eprospera/?agreed=1&partial_token={token}")
    assert other.whoami() == ""
    assert not Connection.objects.exists()


def test_a_new_sign_in_does_not_resume_the_one_that_was_given_up(visitor, provider, pipeline):
    pipeline("ask_for_terms", before=4)
    visitor.sign_in()
    provider.person["sub"] = "another-person"
    assert visitor.sign_in().text == "Do you agree?"
    assert Partial.objects.count() == 1
    visitor.get("/complete/eprospera/?agreed=1")
    assert Connection.objects.get().sub == "another-person"


def test_a_step_that_refuses_leaves_nothing_behind(visitor, provider, pipeline, caplog):
    pipeline("refuse")
    page = visitor.sign_in()
    assert_nothing_happened(visitor, caplog, provider, page, "membership_required")
    assert "canary-detail" not in page.text + caplog.text


def test_a_step_that_breaks_a_rule_of_the_database_leaves_nothing_behind(visitor, provider, pipeline, caplog):
    pipeline("break_the_database")
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), "integrity")


def test_a_pipeline_that_lets_nobody_new_in_ends_on_a_page(visitor, provider, pipeline, settings, caplog):
    settings.SOCIAL_AUTH_PIPELINE = [name for name in steps.DEFAULT if "create_user" not in name]
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), "authentication_disallowed")


def test_a_pipeline_that_associates_nobody_is_said_to_be_wrong(visitor, provider, pipeline, settings, caplog):
    settings.SOCIAL_AUTH_PIPELINE = [name for name in steps.DEFAULT if "associate_user" not in name]
    page = visitor.sign_in()
    assert_nothing_happened(visitor, caplog, provider, page, "invalid_setting")


def test_a_step_can_ask_the_provider_through_the_base(visitor, provider, pipeline):
    pipeline("ask_the_provider")
    assert visitor.sign_in().status_code == 302
    assert steps.seen[0]["sub"] == provider.person["sub"]


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        (Reply(200, "x" * 2_000_000), "malformed_response", 502),
        (Reply(200, "<html>"), "malformed_response", 502),
        (Reply(302, headers={"Location": "/"}), "malformed_response", 502),
        (Reply(404, "{}"), "http_error", 502),
        (Reply(429, "{}"), "rate_limited", 503),
        (Reply(500, '{"error": "canary-client-secret"}'), "unavailable", 503),
        (Reply(200, drip=0.05), "timeout", 504),
    ],
    ids=["huge", "html", "redirected", "404", "429", "500", "endless"],
)
def test_what_a_step_asks_through_the_base_is_bounded(
    visitor, provider, pipeline, caplog, settings, answer, reason, status
):
    settings.EPROSPERA_DEADLINE = 1.5
    asked = []
    provider.userinfo = lambda honest: asked.append(1) or (honest if len(asked) == 1 else answer)
    pipeline("ask_the_provider")
    page = visitor.sign_in()
    assert_nothing_happened(visitor, caplog, provider, page, reason)
    assert page.status_code == status


@pytest.mark.parametrize("debug", [True, False])
def test_a_bug_in_a_step_shows_no_token_and_leaves_nothing_behind(visitor, provider, pipeline, settings, caplog, debug):
    """It is an error of the site and stays one; the traceback, with DEBUG on the whole page of it, is all it may show."""
    settings.DEBUG = debug
    pipeline("break_down")
    page = visitor.sign_in()
    assert page.status_code == 500
    assert ("a bug, with" in page.text) == debug
    assert not get_user_model().objects.exists()
    assert not UserSocialAuth.objects.exists()
    assert not Connection.objects.exists()
    assert visitor.whoami() == ""
    for canary in provider.canaries:
        if not canary.startswith("code-"):  # the address of the page, and spent
            assert canary not in page.text
