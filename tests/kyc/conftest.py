import pytest

from tests.kyc.steps import make_reviewer


@pytest.fixture
def reviewer(db):
    return make_reviewer()
