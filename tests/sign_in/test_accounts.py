"""The account that a proven person gets: never somebody else's, and none while the site is misconfigured."""

import base64

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection
from social_django.models import UserSocialAuth

from django_eprospera import access
from django_eprospera.kyc.facts import person_subject
from django_eprospera.models import Connection, NaturalPerson, Residency, Review
from django_eprospera.testing import factories
from tests.hostile_provider import HostileProvider
from tests.sign_in import steps
from tests.sign_in.refusal import assert_nothing_happened, changed, log_in, logged, replied
from tests.visitor import Visitor, text_of


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("asks_for_it", [True, False], ids=["site-joins-by-email", "default"])
def test_an_account_with_the_same_email_is_not_taken_over(visitor, provider, settings, verified, asks_for_it):
    owner = get_user_model().objects.create_user("owner", provider.person["email"], "pw")
    provider.person["email_verified"] = verified
    if asks_for_it:  # for another provider, perhaps
        settings.SOCIAL_AUTH_PIPELINE = [
            *steps.DEFAULT[:5], "social_core.pipeline.social_auth.associate_by_email", *steps.DEFAULT[5:],
        ]  # fmt: skip
    visitor.sign_in()
    assert visitor.whoami() not in {"", "owner"}
    assert not UserSocialAuth.objects.filter(user=owner).exists()
    owner.refresh_from_db()
    assert (owner.first_name, owner.check_password("pw")) == ("", True)


def test_where_emails_are_unique_the_sign_in_ends_on_a_page(visitor, provider, caplog):
    get_user_model().objects.create_user("owner", provider.person["email"], "pw")
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX one_account_per_email ON auth_user (email)")
    try:
        page = visitor.sign_in()
        assert page.status_code == 409
        assert "Sign in to that account the way you usually do" in text_of(page)
        # PostgreSQL names the index, which python-social-auth does not know.
        reason = "email_in_use" if connection.vendor == "sqlite" else "integrity"
        assert_nothing_happened(visitor, caplog, provider, page, reason, users=1)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX one_account_per_email")


def test_an_account_that_was_switched_off_stays_out(visitor, provider, caplog, site):
    first = Visitor(site)
    first.sign_in()
    user = get_user_model().objects.get()
    user.is_active = False
    user.save()
    before = Connection.objects.get().signed_in_at
    page = visitor.sign_in()
    assert page.status_code == 403
    assert "Your account is not active" in text_of(page)
    assert "reason=inactive_user stage=pipeline" in caplog.text
    assert visitor.whoami() == ""
    assert Connection.objects.get().signed_in_at == before


def test_a_person_who_is_connected_with_another_user_is_not_moved(visitor, provider, caplog, client, site):
    Visitor(site).sign_in()
    log_in(visitor, "local")
    page = visitor.sign_in()
    assert page.status_code == 409
    assert "reason=identity_in_use" in caplog.text
    assert visitor.whoami() == "local"
    assert Connection.objects.get().user.username != "local"


def test_the_same_sub_at_another_issuer_is_another_person(visitor, provider, settings, site):
    visitor.sign_in()
    owner = visitor.whoami()
    with HostileProvider() as other:
        other.person["sub"] = provider.person["sub"]
        settings.EPROSPERA_BASE_URL = other.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY, settings.SOCIAL_AUTH_EPROSPERA_SECRET = other.client_id, other.client_secret
        somebody = Visitor(site)
        assert somebody.sign_in().status_code == 302
        assert somebody.whoami() not in {"", owner}
        again = Visitor(site)
        again.sign_in()
        assert again.whoami() == somebody.whoami()
    assert Connection.objects.get(issuer=provider.url).user.username == owner


def test_a_sign_in_with_another_client_uses_nothing_that_the_former_one_was_given(visitor, provider, settings, site):
    visitor.sign_in()
    connection = Connection.objects.get()
    factories.natural_person(connection)
    factories.residency(connection)
    factories.consent(connection)
    Review.objects.update_or_create(
        subject=person_subject(connection), defaults={"status": Review.Status.APPROVED, "user": connection.user}
    )
    assert access.kyc(connection.user).allowed
    settings.SOCIAL_AUTH_EPROSPERA_KEY = provider.client_id = "another-client"
    Visitor(site).sign_in()
    connection = Connection.objects.get()
    assert connection.client_id == "another-client"
    assert not NaturalPerson.objects.exists()
    assert not Residency.objects.exists()
    assert not connection.entity_consents.exists()
    assert not connection.resources.exclude(synced_at=None).exists()
    assert (access.kyc(connection.user).allowed, access.residency(connection.user).allowed) == (False, False)


def test_a_user_who_is_connected_as_one_person_is_not_connected_as_another(visitor, provider, caplog):
    log_in(visitor, "local")
    visitor.sign_in()
    first = Connection.objects.get().sub
    provider.person["sub"] = "another-person"
    page = visitor.sign_in()
    assert page.status_code == 409
    assert "reason=other_subject" in caplog.text
    assert Connection.objects.get().sub == first
    assert list(UserSocialAuth.objects.values_list("uid", flat=True)) == [f"{provider.url} {first}"]


def test_who_signs_in_meanwhile_is_not_connected_with_a_sign_in_begun_before(visitor, provider, caplog):
    address = visitor.visit_provider(visitor.begin())
    log_in(visitor, "local")
    page = visitor.get(address)
    assert page.status_code == 403
    assert "reason=user_mismatch" in caplog.text
    assert not UserSocialAuth.objects.exists()
    assert visitor.whoami() == "local"


def test_who_signs_out_meanwhile_does_not_get_a_second_account(visitor, provider, caplog):
    log_in(visitor, "local")
    address = visitor.visit_provider(visitor.begin())
    session = Session.objects.get(session_key=visitor.session_key)
    store = session.get_session_store_class()(session.session_key)
    del store["_auth_user_id"]
    store.save()
    page = visitor.get(address)
    assert_nothing_happened(visitor, caplog, provider, page, "user_mismatch", users=1)
    assert "/token" not in provider.calls


def test_who_changes_users_meanwhile_is_not_served_for_the_one_before(visitor, provider, caplog, site):
    owner = Visitor(site)
    owner.sign_in()
    log_in(visitor, "local")
    address = visitor.visit_provider(visitor.begin())
    theirs = Session.objects.get(session_key=owner.session_key).get_decoded()
    store = Session.get_session_store_class()(visitor.session_key)
    for name in ("_auth_user_id", "_auth_user_backend", "_auth_user_hash"):
        store[name] = theirs[name]
    store.save()
    page = visitor.get(address)
    assert page.status_code == 403
    assert "reason=user_mismatch" in logged(caplog)


def test_a_refusal_with_debug_on_is_the_same_page(visitor, provider, caplog, settings):
    settings.DEBUG = True
    provider.claims = changed(nonce="wrong")
    page = visitor.sign_in()
    assert_nothing_happened(visitor, caplog, provider, page, "nonce")


def test_a_refusal_mails_nobody_the_request(visitor, provider, settings, mailoutbox, caplog):
    settings.ADMINS = [("Admin", "admin@example.test")]
    settings.LOGGING_CONFIG = None
    provider.token = replied(500, "oops")
    assert visitor.sign_in().status_code == 503
    assert mailoutbox == []
    assert not [record for record in caplog.records if record.name == "django.request" and record.levelname == "ERROR"]


def test_a_wrong_encryption_key_is_a_page_at_the_begin(visitor, provider, caplog, settings):
    visitor.csrf_token()
    settings.FIELD_ENCRYPTION_KEY = "canary-not-a-key"
    page = visitor.begin()
    assert_nothing_happened(visitor, caplog, provider, page, "configuration")
    assert "canary-not-a-key" not in page.text + caplog.text


def test_a_missing_client_secret_is_a_page_at_the_begin(visitor, provider, caplog, settings):
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = ""
    assert_nothing_happened(visitor, caplog, provider, visitor.begin(), "configuration")


def test_a_key_that_was_changed_meanwhile_ends_the_sign_in(visitor, provider, caplog, settings):
    address = visitor.visit_provider(visitor.begin())
    settings.FIELD_ENCRYPTION_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
    assert_nothing_happened(visitor, caplog, provider, visitor.get(address), "session_context_missing")
