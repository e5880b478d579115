"""Settings: defaults, read on access, and refused with their name when they are nonsense."""

import inspect
from datetime import timedelta

import pytest

from django_eprospera.conf import Conf, conf
from django_eprospera.errors import ConfigurationError

PROPERTIES = [name for name, _ in inspect.getmembers(Conf, lambda member: isinstance(member, property))]
NAMES = [name for name in PROPERTIES if name.startswith("EPROSPERA_")]
DURATIONS = [name for name in NAMES if "timedelta" in inspect.getsource(getattr(Conf, name).fget).split('"""')[0]]


def test_every_setting_has_a_default_and_says_what_it_is(settings):
    for name in NAMES:
        if hasattr(settings, name):
            delattr(settings, name)
        getattr(conf, name)
        assert len(getattr(Conf, name).__doc__) > 20
    assert conf.EPROSPERA_BASE_URL == "https://portal.eprospera.com"
    assert "email" in conf.EPROSPERA_USER_FIELDS


def test_a_setting_is_read_when_it_is_used(settings):
    settings.EPROSPERA_TIMEOUT = 3
    assert conf.EPROSPERA_TIMEOUT == 3
    settings.EPROSPERA_TIMEOUT = 4
    assert conf.EPROSPERA_TIMEOUT == 4


@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_may_be_given_in_seconds(settings, name):
    setattr(settings, name, 90)
    assert getattr(conf, name) == timedelta(seconds=90)
    setattr(settings, name, timedelta(minutes=2))
    assert getattr(conf, name) == timedelta(minutes=2)


def test_each_resource_may_have_an_age_of_its_own(settings):
    settings.EPROSPERA_STALE_AFTER = {"residency": 3600, "entity_documents": timedelta(days=7)}
    assert conf.stale_after("residency") == timedelta(hours=1)
    assert conf.stale_after("entity_documents") == timedelta(days=7)
    assert conf.stale_after("natural_person") == timedelta(days=1)


@pytest.mark.parametrize("value", [{"residence": 3600}, {"residency": "1 hour"}])
def test_an_age_of_no_resource_or_without_a_duration_is_refused_by_name(settings, value):
    settings.EPROSPERA_STALE_AFTER = value
    with pytest.raises(ConfigurationError, match=r"EPROSPERA_STALE_AFTER.*residen"):
        conf.stale_after("residency")


@pytest.mark.parametrize("value", ["1 hour", True, float("nan"), float("inf"), 1e30, [1], b"5"])
@pytest.mark.parametrize("name", [*DURATIONS, "EPROSPERA_TIMEOUT", "EPROSPERA_DEADLINE"])
def test_a_length_of_time_that_is_none_is_refused_by_name(settings, name, value):
    if value == 1e30 and name not in DURATIONS:
        return
    setattr(settings, name, value)
    with pytest.raises(ConfigurationError, match=name):
        getattr(conf, name)


@pytest.mark.parametrize("value", ["many", 1.5, None, True])
@pytest.mark.parametrize(
    "name", ["EPROSPERA_MAX_ANSWER_BYTES", "EPROSPERA_MAX_FILE_BYTES", "EPROSPERA_REPLACED_GRANTS"]
)
def test_a_number_that_is_not_whole_is_refused_by_name(settings, name, value):
    setattr(settings, name, value)
    with pytest.raises(ConfigurationError, match=f"{name} must be a whole number"):
        getattr(conf, name)


@pytest.mark.parametrize("value", [True, 200, 600, "502"])
def test_a_status_that_is_no_error_is_refused_by_name(settings, value):
    settings.EPROSPERA_PROVIDER_ERROR_STATUS = value
    with pytest.raises(ConfigurationError, match="EPROSPERA_PROVIDER_ERROR_STATUS must be a status from 400 to 599"):
        conf.EPROSPERA_PROVIDER_ERROR_STATUS  # noqa: B018


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_a_switch_is_true_or_false(settings, value):
    settings.EPROSPERA_NOTIFY_OWNER = value
    with pytest.raises(ConfigurationError, match="EPROSPERA_NOTIFY_OWNER must be True or False"):
        conf.EPROSPERA_NOTIFY_OWNER  # noqa: B018


def test_a_name_where_a_list_is_meant_is_refused_and_not_read_letter_by_letter(settings):
    settings.EPROSPERA_USER_FIELDS = "email"
    with pytest.raises(ConfigurationError, match="EPROSPERA_USER_FIELDS"):
        conf.EPROSPERA_USER_FIELDS  # noqa: B018
    settings.EPROSPERA_USER_FIELDS = ()
    assert conf.EPROSPERA_USER_FIELDS == ()


def test_the_client_secret_does_not_show_itself(settings):
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = "hush"
    assert conf.client_secret == "hush"
    assert "hush" not in repr(conf.client_secret)
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = None
    assert conf.client_secret == ""
