"""The keyring of the settings: as they are now, and an error that shows no key."""

import sys
import traceback

import pytest
from django.views.debug import ExceptionReporter

from django_eprospera.conf import conf
from django_eprospera.errors import ConfigurationError
from django_eprospera.keys import keyring

KEY = "ycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJyck="
MISTYPED = "almost-a-key-that-was-mistyped"
OTHER = "ysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKyso="


def test_the_keyring_follows_the_settings(settings):
    settings.FIELD_ENCRYPTION_KEY = KEY
    before = keyring()
    settings.FIELD_ENCRYPTION_KEY = [OTHER, KEY]
    assert keyring().key_ids[1:] == before.key_ids
    settings.EPROSPERA_INDEX_KEY = OTHER
    assert keyring().current_index == keyring().key_ids[0]


@pytest.mark.parametrize("given", [KEY, KEY.encode(), [KEY], (KEY.encode(),)])
def test_one_key_may_be_given_as_text_bytes_or_a_list(settings, given):
    settings.FIELD_ENCRYPTION_KEY = given
    assert conf.encryption_keys == (KEY,)
    assert len(keyring().key_ids) == 1


@pytest.mark.parametrize("given", ["", None, [], "short", [KEY, "short"], [None], 7, {"key": KEY}, KEY + "," + OTHER])
def test_no_key_or_a_wrong_one_is_an_error_that_names_the_setting(settings, given):
    settings.FIELD_ENCRYPTION_KEY = given
    with pytest.raises(ConfigurationError, match="FIELD_ENCRYPTION_KEY"):
        keyring()


def test_a_setting_that_is_not_there_is_an_error_that_names_it(settings):
    del settings.FIELD_ENCRYPTION_KEY
    with pytest.raises(ConfigurationError, match="FIELD_ENCRYPTION_KEY"):
        keyring()


def test_a_wrong_index_key_is_named_as_such(settings):
    settings.EPROSPERA_INDEX_KEY = "password"
    with pytest.raises(ConfigurationError, match="EPROSPERA_INDEX_KEY"):
        keyring()


def test_the_error_page_and_the_trace_of_a_wrong_key_show_no_key(settings, rf):
    settings.DEBUG = True
    settings.FIELD_ENCRYPTION_KEY = [KEY, MISTYPED]
    settings.EPROSPERA_INDEX_KEY = [OTHER]
    try:
        keyring()
    except ConfigurationError:
        page = ExceptionReporter(rf.get("/"), *sys.exc_info()).get_traceback_html()
        text = traceback.format_exc()
        locals_ = "".join(traceback.TracebackException(*sys.exc_info(), capture_locals=True).format())
    for shown in (page, text, locals_):
        for secret in (KEY, OTHER, MISTYPED):
            assert secret not in shown
