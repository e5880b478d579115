import pytest

from django_eprospera import audit, kyc
from django_eprospera.models import AuditEntry, Review
from django_eprospera.verify import read_keys
from tests.casefile.steps import ALL, KEY, download, public_key, staff
from tests.kyc.steps import REJECTED, decide, person


@pytest.fixture(autouse=True)
def signing_key(media, settings):
    settings.EPROSPERA_SIGNING_KEY = KEY


@pytest.fixture
def officer(client):
    user = staff(*ALL)
    client.force_login(user)
    return user


@pytest.fixture
def review(officer):
    """A person's review with two decisions and looks at it, among entries of others."""
    others = kyc.evaluate(person())
    found = kyc.evaluate(person(person={"name": "Ada <b>Example</b>"}))
    decide(others, officer, REJECTED, "Another case.")
    decide(found, officer, REJECTED, "Blurred <script>.")
    audit.record(AuditEntry.Action.VIEWED, found, actor=officer, detail={"fields": ["person.name"]})
    audit.record(AuditEntry.Action.SEARCHED, "django_eprospera.review:", actor=officer, detail={"found": 1})
    decide(found, officer)
    return Review.objects.get(pk=found.pk)


@pytest.fixture
def exported(client, review):
    return b"".join(download(client, review).streaming_content)


@pytest.fixture
def keys(client):
    return read_keys(public_key())
