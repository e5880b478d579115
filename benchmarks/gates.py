"""A page behind a gate ÷ the same page behind `login_required`: requests through the whole WSGI handler."""

import io

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from benchmarks.measure import Row, queries
from django_eprospera.decorators import kyc_required, residency_required
from django_eprospera.models import Review
from django_eprospera.testing import factories

TIMES = 50


def page(request):
    return HttpResponse("page")


urlpatterns = [
    path("login/", login_required(page)),
    path("residency/", residency_required(page)),
    path("kyc/", kyc_required(page)),
]


def rows(bench):
    settings.ROOT_URLCONF = "benchmarks.gates"
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = factories.ALL_SCOPES
    connection = factories.connection()
    factories.natural_person(connection)
    factories.residency(connection)
    factories.synced(connection)
    Review.objects.create(
        subject=f"person:{connection.issuer}:{connection.sub}",
        subject_kind="person",
        user=connection.user,
        status="approved",
    )
    client, handler = Client(), WSGIHandler()
    client.force_login(connection.user)
    cookie = client.cookies["sessionid"].value

    def visit(address, times=1):
        for _ in range(times):
            environ = {
                "REQUEST_METHOD": "GET", "PATH_INFO": address, "SERVER_NAME": "localhost", "SERVER_PORT": "80",
                "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http", "HTTP_COOKIE": f"sessionid={cookie}",
            }  # fmt: skip
            response = handler(environ, lambda status, headers: None)
            assert response.status_code == 200, (address, response.status_code)
            response.close()

    visit("/login/")
    alone = queries(lambda: visit("/login/"))
    for gate in ("residency", "kyc"):
        more = queries(lambda address=f"/{gate}/": visit(address)) - alone
        yield Row(f"Gate {gate}_required: queries more than login_required", more, "queries", 1)
        yield bench.ratio(
            f"Gate {gate}_required ÷ login_required: CPU", lambda address=f"/{gate}/": visit(address, TIMES),
            lambda: visit("/login/", TIMES), goal=1.4,
        )  # fmt: skip
