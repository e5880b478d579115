"""The clock of this host is compared with the provider's by each answer, and a large difference is logged once."""

import time
from email.utils import formatdate

import pytest

from django_eprospera.provider import clock
from django_eprospera.provider.http import Limits, call
from tests.peers import Peer, answers, response

LIMITS = Limits()


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch):
    monkeypatch.setattr(clock, "_behind", None)
    monkeypatch.setattr(clock, "_logged_at", float("-inf"))


def ask(**headers):
    with Peer(answers(response(200, b"{}", **headers))) as peer:
        return call("GET", f"{peer.url}/x", limits=LIMITS, path_template="/x")


@pytest.mark.parametrize(("ahead", "word"), [(7_200, "behind"), (-7_200, "ahead of")])
def test_a_wrong_clock_is_measured_and_logged_once(caplog, ahead, word):
    for _ in range(5):
        ask(Date=formatdate(time.time() + ahead, usegmt=True))
    assert abs(clock.seconds_behind() - ahead) < clock.TOLERATED
    (record,) = [record for record in caplog.records if record.name == clock.logger.name]
    assert record.levelname == "ERROR"
    assert f"seconds {word} e-Próspera's" in record.getMessage()


@pytest.mark.parametrize("ahead", [0, -20, 20])
def test_a_clock_that_is_right_is_not_logged(caplog, ahead):
    ask(Date=formatdate(time.time() + ahead, usegmt=True))
    assert abs(clock.seconds_behind()) < clock.TOLERATED
    assert not [record for record in caplog.records if record.name == clock.logger.name]


@pytest.mark.parametrize("date", ["", "yesterday", "1", "Tue, 99 Foo 2026 12:00:00 GMT", "Z" * 5_000], ids=range(5))
def test_what_is_no_date_is_no_clock(date):
    ask(Date=date)
    assert clock.seconds_behind() is None


def test_a_date_to_retry_after_is_meant_by_the_clock_of_the_answer():
    tomorrow = time.time() + 86_400
    dates = {"Date": formatdate(tomorrow, usegmt=True), "Retry_After": formatdate(tomorrow + 40, usegmt=True)}
    assert ask(**dates).retry_after == 40.0
