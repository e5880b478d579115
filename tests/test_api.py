"""Access rules for views of Django REST framework and of Django Ninja."""

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path
from ninja import NinjaAPI
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.response import Response

from django_eprospera.access import AccessRefused, Policy
from django_eprospera.models import Review
from django_eprospera.ninja import AccessAuth, refusal
from django_eprospera.rest_framework import access_permission
from django_eprospera.testing import factories

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@api_view(["GET", "POST"])
@authentication_classes([SessionAuthentication])
@permission_classes([access_permission(Policy(kyc=True))])
def vault(request):
    return Response("behind the gate")


@api_view(["GET"])
@authentication_classes([SessionAuthentication])
@permission_classes([access_permission(Policy(company="shared"), company="pk")])
def company(request, pk):
    return Response("behind the gate")


api = NinjaAPI(urls_namespace="gated")
api.add_exception_handler(AccessRefused, refusal)


@api.api_operation(["GET", "POST"], "/vault/", auth=AccessAuth(Policy(kyc=True)))
def ninja_vault(request):
    return HttpResponse("behind the gate")


@api.get("/companies/{uuid:pk}/", auth=AccessAuth(Policy(company="shared"), company="pk"))
def ninja_company(request, pk: str):
    return HttpResponse("behind the gate")


urlpatterns = [
    path("rest/vault/", vault),
    path("rest/companies/<uuid:pk>/", company),
    path("ninja/", api.urls),
    path("", include("tests.urls")),
]
KINDS = pytest.mark.parametrize("kind", ["rest", "ninja"])


@pytest.fixture
def connection():
    row = factories.connection()
    factories.natural_person(row)
    subject = f"person:{row.issuer}:{row.sub}"
    Review.objects.create(subject=subject, subject_kind="person", user=row.user, status="approved")
    return row


@KINDS
def test_users_who_have_what_the_policy_names_pass(client, connection, kind):
    client.force_login(connection.user)
    assert client.get(f"/{kind}/vault/").status_code == 200


@KINDS
@pytest.mark.parametrize("user", ["anonymous", "pending"])
def test_others_get_the_members_of_a_problem_document(client, connection, kind, user):
    if user == "pending":
        Review.objects.update(status="pending")
        client.force_login(connection.user)
    response = client.get(f"/{kind}/vault/")
    assert response.status_code == 403
    body = response.json()
    code = "anonymous" if user == "anonymous" else "kyc_pending"
    assert (body["status"], body["code"], body["missing"]) == (403, code, [code])
    assert body["detail"].endswith(".")


@KINDS
def test_the_company_of_the_url_has_to_be_shared(client, connection, kind):
    mine, other = factories.consent(connection).entity, factories.consent(factories.connection()).entity
    client.force_login(connection.user)
    assert client.get(f"/{kind}/companies/{mine.pk}/").status_code == 200
    response = client.get(f"/{kind}/companies/{other.pk}/")
    assert (response.status_code, response.json()["code"]) == (403, "entity_not_shared")


@KINDS
def test_a_request_from_another_site_is_refused(connection, kind):
    client = Client(enforce_csrf_checks=True)
    client.force_login(connection.user)
    response = client.post(f"/{kind}/vault/")
    assert response.status_code == 403
    assert b"behind the gate" not in response.content
