"""What the tests of the sync share: files in a folder of their own, and counters at nothing."""

import pytest


@pytest.fixture(autouse=True)
def folder_of_its_own(media):
    """Files lie in a folder that starts empty."""


@pytest.fixture
def asked(provider):
    """How often the provider was asked for a path (or one that begins with it) since the last call."""

    def count(path):
        counters = provider.control("stats")["counters"]
        provider.control("stats", "DELETE")
        return sum(number for name, number in counters.items() if path in name)

    return count
