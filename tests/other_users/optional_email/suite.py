"""Two people who share no e-mail address, where it is unique or NULL."""

import pytest
from django.contrib.auth import get_user_model

from tests.sandbox_process import LUCIA, OTTO, SandboxProcess
from tests.visitor import Visitor, query_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_both_get_an_account(live_server, settings):
    with SandboxProcess(redirect_uris=[f"{live_server.url}/complete/eprospera/"]) as process:
        settings.EPROSPERA_BASE_URL = process.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY = process.client_id
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = process.client_secret
        names = set()
        for persona in (LUCIA, OTTO):
            visitor = Visitor(live_server.url)
            reached = process.walk(query_of(visitor.begin().headers["Location"]), persona)
            assert visitor.get("/complete/eprospera/", params=reached).status_code == 302
            names.add(visitor.get("/whoami/").text)
    assert len(names - {""}) == 2
    assert list(get_user_model().objects.values_list("email", flat=True)) == [None, None]


def test_an_empty_address_that_the_site_stores_itself_is_left_alone():
    assert get_user_model().objects.create_user("local").email == ""
