"""Policies: several rules at once, companies that the URL names, and the faces of a gate besides decorators for one rule."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import SESSION_KEY
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.test import Client
from django.utils import timezone

from django_eprospera import access, scopes
from django_eprospera.access import Policy, evaluate
from django_eprospera.checks.gates import check_url_policies
from django_eprospera.decorators import access_required
from django_eprospera.errors import ConfigurationError
from django_eprospera.models import ResourceState, Review
from django_eprospera.testing import factories

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.gated_urls")]

MIDDLEWARE = "django_eprospera.middleware.AccessMiddleware"
ALL = Policy(
    residency=["Resident"], kyc=True, scopes=[scopes.PROFILE], company="approved", max_age=timedelta(hours=1),
    recent_sign_in=True,
)  # fmt: skip


@pytest.fixture(autouse=True)
def every_scope_requested(settings):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = factories.ALL_SCOPES


@pytest.fixture
def connection():
    """A resident whose KYC is approved, with an approved company; everything was synced now."""
    row = factories.connection()
    factories.natural_person(row)
    factories.residency(row, residency_type="Resident")
    subject = f"person:{row.issuer}:{row.sub}"
    Review.objects.create(subject=subject, subject_kind="person", user=row.user, status="approved")
    approve(factories.consent(row).entity)
    for resource in ResourceState.Resource:
        ResourceState.objects.update_or_create(
            connection=row, resource=resource, defaults={"synced_at": timezone.now(), "error": ""}
        )
    return row


def approve(company):
    subject = f"entity:{company.issuer}:{company.entity_id}"
    Review.objects.create(subject=subject, subject_kind="entity", entity=company, status="approved")


def company_of(connection):
    return connection.entity_consents.get().entity


def signed_in(rf, user, seconds_ago=0):
    request = rf.get("/")
    request.user = user
    request.session = {"eprospera_auth_time": int(timezone.now().timestamp()) - seconds_ago, SESSION_KEY: str(user.pk)}
    return request


def test_a_policy_of_all_rules_costs_one_query(rf, connection, django_assert_num_queries):
    request, company = signed_in(rf, connection.user), company_of(connection)
    with django_assert_num_queries(1):
        assert evaluate(connection.user, ALL, company=company, request=request).allowed


def test_all_that_is_missing_is_named_and_the_first_is_the_reason(rf, connection):
    connection.residency.delete()
    Review.objects.update(status="pending")
    ResourceState.objects.update(synced_at=timezone.now() - timedelta(days=1))
    request = signed_in(rf, connection.user, 3600)
    answer = evaluate(connection.user, ALL, company=company_of(connection), request=request)
    assert answer.missing == ("on_its_way", "entity_pending", "kyc_pending", "too_old", "sign_in_again")
    assert (answer.allowed, answer.code, answer.next_step) == (False, "on_its_way", "wait")


def test_a_recent_sign_in_is_that_of_the_user_and_not_of_another_session(rf, connection):
    request = signed_in(rf, factories.user())
    request.user = connection.user
    assert evaluate(connection.user, Policy(recent_sign_in=True), request=request).code == "sign_in_again"


def test_a_policy_may_ask_for_a_more_recent_sign_in_than_the_setting(rf, connection):
    request = signed_in(rf, connection.user, 90)
    assert evaluate(connection.user, Policy(recent_sign_in=True), request=request).allowed
    minute = Policy(recent_sign_in=timedelta(minutes=1))
    assert evaluate(connection.user, minute, request=request).code == "sign_in_again"


def test_the_age_of_another_persons_data_does_not_count(connection):
    other = factories.connection()
    factories.residency(other)
    policy = Policy(residency=True, max_age=timedelta(hours=1))
    assert evaluate(connection.user, policy).allowed
    assert evaluate(other.user, policy).code == "too_old"


def test_the_review_of_another_company_does_not_count(connection):
    pending = factories.consent(connection).entity
    subject = f"entity:{pending.issuer}:{pending.entity_id}"
    Review.objects.create(subject=subject, subject_kind="entity", entity=pending, status="pending")
    approved = connection.entity_consents.exclude(entity=pending).get().entity
    assert evaluate(connection.user, Policy(company="approved"), company=approved).allowed
    assert evaluate(connection.user, Policy(company="approved"), company=pending).code == "entity_pending"


def test_a_scope_that_the_site_requests_can_be_shared_and_another_one_cannot(connection, settings):
    connection.scope = "openid"
    connection.save()
    for requested, code in ((scopes.PROFILE, "not_shared"), ("openid", "not_requested")):
        settings.SOCIAL_AUTH_EPROSPERA_SCOPE = [requested]
        assert evaluate(connection.user, Policy(scopes=[scopes.PROFILE])).code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda row: type(row).objects.update(scope=row.scope.replace(scopes.PROFILE, "")), "not_shared"),
        (lambda row: row.residency.delete(), "on_its_way"),
        (lambda row: row.entity_consents.update(withdrawn_at=timezone.now()), "entity_not_shared"),
        (lambda row: Review.objects.filter(subject_kind="entity").update(status="rejected"), "entity_rejected"),
        (lambda row: Review.objects.filter(subject_kind="person").update(status="rejected"), "kyc_rejected"),
        (lambda row: row.resources.filter(resource="residency").update(synced_at=None), "too_old"),
        (lambda row: row.resources.filter(resource="legal_entities").delete(), "too_old"),
    ],
)
def test_each_rule_refuses_by_itself(rf, connection, change, code):
    company = company_of(connection)
    change(connection)
    answer = evaluate(connection.user, ALL, company=company, request=signed_in(rf, connection.user))
    assert answer.missing == (code,)


@pytest.mark.parametrize("company", [UUID(int=7), str(UUID(int=8)), "7", "", "' OR 1=1"])
def test_a_company_that_is_not_shared_or_does_not_exist_is_refused_alike(connection, company):
    approve(factories.legal_entity())
    assert evaluate(connection.user, Policy(company="shared"), company=company).code == "entity_not_shared"
    other = factories.consent(factories.connection()).entity
    assert evaluate(connection.user, Policy(company="approved"), company=other.pk).code == "entity_not_shared"
    assert evaluate(connection.user, Policy(company="shared"), company=str(company_of(connection).pk)).allowed


def test_what_a_policy_is_about_has_to_be_given(connection):
    with pytest.raises(TypeError, match="company="):
        evaluate(connection.user, Policy(company="shared"))
    with pytest.raises(TypeError, match="request="):
        evaluate(connection.user, Policy(recent_sign_in=True))
    for policy, argument in ((Policy(kyc=True), "pk"), (Policy(company="shared"), "")):
        with pytest.raises(TypeError, match="company"):
            access_required(policy, company=argument)


@pytest.mark.parametrize(
    ("needs", "error"),
    [
        ({"residency": "Resident"}, TypeError),
        ({"scopes": "openid"}, TypeError),
        ({"scopes": ["eprospera:everything"]}, ValueError),
        ({"company": "mine"}, ValueError),
        ({"max_age": timedelta(days=1)}, ValueError),
    ],
)
def test_a_policy_that_means_nothing_is_refused_when_it_is_made(needs, error):
    with pytest.raises(error):
        Policy(**needs)


def test_a_view_may_be_about_the_company_in_its_url(client, connection):
    client.force_login(connection.user)
    mine, other = company_of(connection), factories.consent(factories.connection()).entity
    assert client.get(f"/companies/{mine.pk}/").content == b"behind the gate"
    assert client.get(f"/companies/class/{mine.pk}/").status_code == 200
    for pk in (other.pk, uuid4()):
        assert client.get(f"/companies/{pk}/").status_code == 403
        assert client.get(f"/companies/class/{pk}/").status_code == 403


def test_of_two_mixins_both_hold(client, connection):
    client.force_login(connection.user)
    assert client.get("/both/").status_code == 200
    connection.residency.delete()
    assert client.get("/both/").status_code == 403
    factories.residency(connection)
    Review.objects.update(status="rejected")
    assert client.get("/both/").status_code == 403


@pytest.mark.parametrize(
    "accept", ["application/json", "application/problem+json", "application/json, text/html;q=0.5"]
)
@pytest.mark.parametrize("path", ["/members/", "/vault/async/", "/recent/"])
def test_a_program_gets_a_problem_document_and_no_redirect(client, accept, path):
    response = client.get(path, headers={"accept": accept})
    assert (response.status_code, response["Content-Type"]) == (403, "application/problem+json")
    assert response.json() == {
        "type": "about:blank", "title": "Forbidden", "status": 403, "detail": "Sign in first.", "code": "anonymous",
        "missing": ["anonymous"], "next_step": "",
    }  # fmt: skip
    assert "no-store" in response["Cache-Control"]
    assert "Accept" in response["Vary"]


@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html, application/json"])
def test_a_browser_gets_a_page(client, accept):
    client.force_login(factories.connection().user)
    response = client.get("/members/", headers={"accept": accept})
    assert (response.status_code, response["Content-Type"]) == (403, "text/html; charset=utf-8")


@pytest.mark.parametrize("path", ["/recent/", "/recent/async/"])
def test_a_recent_sign_in_is_asked_for_in_ordinary_and_in_async_views(connection, path):
    client = Client()
    client.force_login(connection.user)
    assert client.get(path)["Location"] == f"/eprospera/confirm-sign-in/?next={path.replace('/', '%2F')}"
    session = client.session
    session["eprospera_auth_time"] = int(timezone.now().timestamp())
    session.save()
    assert client.get(path).content == b"behind the gate"


@pytest.fixture
def gates(settings):
    def arrange(**needs):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
        settings.EPROSPERA_GATES = needs.pop("urls", {"/open/": needs})

    return arrange


def test_urls_are_restricted_by_their_beginning(client, connection, gates):
    gates(kyc=True)
    assert client.get("/open/")["Location"] == "/?next=/open/"
    client.force_login(factories.connection().user)
    assert client.get("/open/page/").status_code == 403
    client.force_login(connection.user)
    assert client.get("/open/page/").content == b"behind the gate"
    assert client.get("/open/missing/").status_code == 404


def test_of_two_beginnings_both_policies_hold(client, connection, gates):
    gates(urls={"/open/": {"residency": True}, "/open/page/": {"kyc": True}})
    client.force_login(connection.user)
    assert client.get("/open/page/").status_code == 200
    Review.objects.update(status="pending")
    assert (client.get("/open/").status_code, client.get("/open/page/").status_code) == (200, 403)


def test_the_sign_in_stays_open_when_everything_is_restricted(client, gates):
    gates(urls={"/": {"kyc": True}})
    assert client.get("/login/eprospera/").status_code == 200
    assert client.get("/open/").status_code == 302


def test_asynchronous_views_are_restricted_too(connection, gates):
    gates(kyc=True)
    client = Client()
    assert client.get("/open/async/").status_code == 302
    client.force_login(connection.user)
    assert client.get("/open/async/").content == b"behind the gate"


@pytest.mark.parametrize(
    "urls",
    [
        {"vault/": {}},
        {"/vault": {}},
        {"/vault/": {"kyk": True}},
        {"/vault/": {"residency": "Resident"}},
        {"/vault/": {"company": "shared"}},
        {"/vault/": True},
        ["/vault/"],
    ],
)
def test_a_setting_that_means_nothing_stops_the_site(client, gates, urls):
    gates(urls=urls)
    with pytest.raises((ConfigurationError, ImproperlyConfigured), match="EPROSPERA_GATES"):
        client.get("/open/")
    assert [message.id for message in check_url_policies()] == ["eprospera.E014"]


def test_a_setting_without_the_middleware_is_an_error(settings):
    settings.EPROSPERA_GATES = {"/vault/": {"kyc": True}}
    assert "eprospera.E014" in [message.id for message in run_checks(tags=["security"])]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
    assert check_url_policies() == []
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = ["openid"]
    (message,) = check_url_policies()
    assert (message.id, "/vault/" in message.msg) == ("eprospera.W009", True)


def test_a_template_asks_too(rf, connection):
    request = signed_in(rf, connection.user)
    text = (
        "{% load eprospera %}{% eprospera_access kyc=True as vault %}{{ vault.allowed }} {{ vault.code }} "
        '{% eprospera_access company="shared" of=company as may %}{{ may.allowed }}'
    )
    shown = Template(text).render(Context({"request": request, "company": company_of(connection)}))
    assert shown == "True ok True"
    Review.objects.update(status="pending")
    assert Template(text).render(Context({"request": request, "company": ""})) == "False kyc_pending False"


def test_the_functions_for_one_rule_are_policies(connection):
    company = company_of(connection)
    assert access.entity(connection.user, company.pk).allowed
    assert access.entity_kyc(connection.user, str(company.pk)).allowed
    assert access.connection(connection.user) == evaluate(connection.user, Policy())
