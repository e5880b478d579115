"""A provider that misbehaves on demand as the provider of the settings, and somebody with a browser before the site."""

import pytest

from tests.hostile_provider import HostileProvider
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def running_provider():
    with HostileProvider() as provider:
        yield provider


@pytest.fixture
def provider(running_provider, settings):
    running_provider.behave()
    settings.ROOT_URLCONF = "tests.sign_in.urls"
    settings.EPROSPERA_BASE_URL = running_provider.url
    settings.SOCIAL_AUTH_EPROSPERA_KEY = running_provider.client_id
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = running_provider.client_secret
    return running_provider


@pytest.fixture
def visitor(live_server, provider, caplog):
    caplog.set_level("DEBUG")
    return Visitor(live_server.url)
