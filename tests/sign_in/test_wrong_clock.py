"""A sign-in at a site whose clock is wrong is refused, and the page and the log say that it is the clock."""

import time

import pytest
import time_machine
from django.utils import timezone

from django_eprospera.models import Connection
from tests.sign_in.refusal import logged
from tests.sign_in.test_backend import return_of
from tests.visitor import Visitor


@pytest.fixture
def visitor(site, sandbox, caplog):
    caplog.set_level("DEBUG")
    return Visitor(site)


@pytest.mark.parametrize("clock", [-86_400, -7_200, -90, 3_600, 86_400])
def test_it_is_refused_for_that_reason(visitor, sandbox, caplog, clock):
    with time_machine.travel(time.time() + clock, tick=True):
        answer = return_of(visitor, sandbox)
        assert visitor.whoami() == ""
    assert answer.status_code == 500
    assert "The clock of this site is wrong" in answer.text
    assert "sign-in refused: reason=clock stage=id_token status=500" in logged(caplog)
    assert not Connection.objects.exists()


@pytest.mark.parametrize("clock", [-40, 40])
def test_a_difference_within_the_setting_signs_in_and_stores_the_databases_times(visitor, sandbox, clock):
    with time_machine.travel(time.time() + clock, tick=True):
        return_of(visitor, sandbox)
        assert visitor.whoami() != ""
    assert Connection.objects.get().access_token_expires_at > timezone.now()
