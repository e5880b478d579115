"""Each gate in each state: who has access, and which code the others get."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.test import override_settings
from django.utils import timezone, translation

from django_eprospera import access, scopes
from django_eprospera.access.answers import MESSAGES, NEXT_STEPS
from django_eprospera.models import Connection, Review
from django_eprospera.testing import factories

OTHER_KEY = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="
REFUSED = {
    "reauthorize": {"state": Connection.State.REAUTHORIZE, "state_cause": Connection.Cause.INVALID_GRANT},
    "other_provider": {"issuer": "https://other.example"},
    "other_client": {"client_id": "another-client"},
}

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_scope_requested")]


@pytest.fixture
def every_scope_requested(settings):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = factories.ALL_SCOPES


def review_of(connection, status):
    if not hasattr(connection, "natural_person"):
        factories.natural_person(connection)
    return Review.objects.create(
        subject=f"person:{connection.issuer}:{connection.sub}",
        subject_kind="person",
        user=connection.user,
        status=status,
    )


def refused_user(kind):
    """A user to whom every gate refuses access, for the reason `kind`."""
    if kind == "anonymous":
        return AnonymousUser()
    if kind == "not_connected":
        return factories.user()
    user = factories.user(is_active=kind != "inactive")
    connection = factories.connection(user, **REFUSED.get(kind, {}))
    factories.residency(connection)
    review_of(connection, "approved")
    return user


@pytest.mark.parametrize(
    "code", ["anonymous", "inactive", "not_connected", "other_provider", "other_client", "reauthorize"]
)
@pytest.mark.parametrize("gate", ["connection", "residency", "kyc", "entity", "entity_kyc"])
def test_no_gate_opens_without_a_connection_in_force(gate, code):
    user = refused_user(code)
    arguments = [factories.legal_entity()] if gate.startswith("entity") else []
    if arguments and hasattr(user, "eprospera"):
        factories.consent(user.eprospera, arguments[0])
    answer = getattr(access, gate)(user, *arguments)
    assert (answer.allowed, answer.code) == (False, "other_provider" if code == "other_client" else code)


@pytest.mark.parametrize(
    ("cause", "allowed"),
    [("invalid_grant", False), ("other_subject", False), ("answer_lost", True), ("no_refresh_token", True)],
)
def test_only_a_grant_that_the_provider_ended_closes_the_gates(cause, allowed):
    connection = factories.connection(state=Connection.State.REAUTHORIZE, state_cause=cause)
    factories.residency(connection)
    assert access.residency(connection.user).allowed is allowed
    assert access.connection(connection.user).allowed is allowed


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({}, "ok"),
        ({"residency_type": "Limited e-Resident"}, "ok"),
        ({"termination_date": timezone.now() + timedelta(hours=2)}, "ok"),
        ({"termination_date": timezone.now() - timedelta(minutes=1)}, "residency_ended"),
        ({"residency_type": None, "effective_date": None}, "residency_ended"),
        ({"residency_type": None, "effective_date": None, "was_ever_resident": False}, "never_resident"),
        ({"termination_date": timezone.now() - timedelta(days=1), "was_ever_resident": False}, "residency_ended"),
    ],
)
def test_the_residency_gate_reads_the_residency(facts, code):
    connection = factories.connection()
    factories.residency(connection, **facts)
    answer = access.residency(connection.user)
    assert (answer.allowed, answer.code) == (code == "ok", code)


def test_the_residency_gate_can_ask_for_a_kind():
    connection = factories.connection()
    factories.residency(connection, residency_type="Limited e-Resident")
    assert access.residency(connection.user, {"Resident", "e-Resident"}).code == "other_residency"
    assert access.residency(connection.user, {"Limited e-Resident"}).allowed


def test_a_residency_that_is_not_cached_yet_gives_no_access():
    factories.residency(factories.connection())  # another user's
    assert access.residency(factories.connection().user).code == "on_its_way"


@pytest.mark.parametrize(
    ("gate", "scope"), [("residency", scopes.PERSON_RESIDENCY_READ), ("entity", scopes.ENTITY_READ)]
)
def test_cached_facts_need_their_own_scope_and_no_other(gate, scope):
    others = " ".join(set(scopes.LABELS) - {scope})
    for granted, code in ((scope, "ok"), (others, "not_shared")):
        connection = factories.connection(scopes=granted)
        factories.residency(connection)
        arguments = [factories.consent(connection).entity] if gate == "entity" else []
        assert getattr(access, gate)(connection.user, *arguments).code == code


def test_a_residency_that_does_not_open_does_not_open_the_gate():
    connection = factories.connection()
    factories.residency(connection)
    with override_settings(FIELD_ENCRYPTION_KEY=OTHER_KEY):
        assert access.residency(connection.user).code == "unreadable"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("waiting", "kyc_waiting"),
        ("pending", "kyc_pending"),
        ("rejected", "kyc_rejected"),
        ("approved", "ok"),
        (None, "on_its_way"),
    ],
)
def test_the_kyc_gate_says_where_the_review_stands(status, code):
    connection = factories.connection()
    if status:
        review_of(connection, status)
    answer = access.kyc(connection.user)
    assert (answer.allowed, answer.code) == (code == "ok", code)


def test_the_kyc_gate_does_not_know_the_user_but_the_person():
    connection = factories.connection()
    review_of(connection, "approved")
    connection.sub = "somebody else"
    connection.save()
    assert access.kyc(connection.user).code == "on_its_way"


@pytest.mark.parametrize(
    ("consent", "granted", "code"),
    [
        ({}, factories.ALL_SCOPES, "ok"),
        ({"withdrawn_at": timezone.now()}, factories.ALL_SCOPES, "entity_not_shared"),
        (None, factories.ALL_SCOPES, "entity_not_shared"),
        ({}, "openid", "not_shared"),
    ],
)
def test_the_entity_gate_follows_consent(consent, granted, code):
    connection, company = factories.connection(scopes=granted), factories.legal_entity()
    factories.consent(factories.connection(), company)  # another user's consent gives no access
    factories.consent(connection)  # neither does one to another company
    if consent is not None:
        factories.consent(connection, company, **consent)
    assert access.entity(connection.user, company).code == code
    assert access.entity_kyc(connection.user, company).allowed is False


@pytest.mark.parametrize("status", ["waiting", "pending", "rejected", "approved"])
def test_the_entity_kyc_gate_says_where_the_company_stands(status):
    connection = factories.connection()
    company = factories.consent(connection).entity
    subject = f"entity:{company.issuer}:{company.entity_id}"
    Review.objects.create(subject=subject, subject_kind="entity", entity=company, status=status)
    assert access.entity_kyc(connection.user, company).code == ("ok" if status == "approved" else f"entity_{status}")


def test_require_raises_what_django_answers_with_403():
    answer = access.kyc(AnonymousUser())
    with pytest.raises(access.AccessRefused) as refused:
        answer.require()
    assert isinstance(refused.value, PermissionDenied)
    assert (refused.value.access, str(refused.value)) == (answer, "Sign in first.")
    connection = factories.connection()
    review_of(connection, "approved")
    access.kyc(connection.user).require()


def test_a_next_step_is_that_of_a_code():
    assert set(NEXT_STEPS) < set(MESSAGES)
    assert access.Access(allowed=False, code="not_shared").next_step == "share"
    assert access.Access(allowed=False, code="not_requested").next_step == "", "nothing that the person can do"


@pytest.mark.parametrize(
    ("requested", "granted", "code"),
    [
        ([scopes.PERSON_DETAILS_READ], "openid", "not_requested"),
        (list(scopes.FEATURES["kyc"]), "openid", "not_shared"),
        (list(scopes.FEATURES["kyc"]), " ".join(scopes.FEATURES["kyc"]), "kyc_waiting"),
    ],
)
def test_a_review_that_lacks_scopes_waits_for_the_site_or_for_consent(settings, requested, granted, code):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = requested
    connection = factories.connection(scopes=granted)
    review_of(connection, "waiting")
    assert access.kyc(connection.user).code == code


def test_every_answer_has_a_sentence():
    for code, sentence in MESSAGES.items():
        with translation.override("en"):
            assert str(sentence).endswith("."), code


@pytest.mark.parametrize("gate", ["connection", "residency", "kyc", "entity", "entity_kyc"])
def test_a_gate_sends_no_request_and_one_query(gate, django_assert_num_queries):
    connection = factories.connection()
    factories.residency(connection)
    review_of(connection, "approved")
    company = factories.consent(connection).entity
    Review.objects.create(
        subject=f"entity:{company.issuer}:{company.entity_id}", subject_kind="entity", entity=company, status="approved"
    )
    user = type(connection.user).objects.get(pk=connection.user.pk)
    with django_assert_num_queries(1):
        assert getattr(access, gate)(user, *([company] if gate.startswith("entity") else [])).allowed
