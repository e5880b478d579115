"""Reviews after a change of the provider or of the client."""

import pytest
from django.urls import reverse

from django_eprospera import kyc
from django_eprospera.admin.review_queue import next_in_queue
from django_eprospera.errors import DecisionRefused
from django_eprospera.kyc.checks import run
from django_eprospera.kyc.facts import entity_facts
from django_eprospera.models import Review
from django_eprospera.testing import factories
from tests.kyc.steps import decide, page_of, person, why


@pytest.fixture(params=["EPROSPERA_BASE_URL", "SOCIAL_AUTH_EPROSPERA_KEY"])
def move(request, settings):
    """The site now uses another provider, or another client of the same."""
    values = {"EPROSPERA_BASE_URL": "https://another.example", "SOCIAL_AUTH_EPROSPERA_KEY": "another-client"}
    return lambda: setattr(settings, request.param, values[request.param])


@pytest.mark.django_db
@pytest.mark.parametrize("kind", Review.Subject.values)
def test_facts_of_another_provider_or_client_are_shown_as_such_and_never_approved(client, reviewer, move, kind):
    connection = person()
    factories.consent(connection)
    kyc.evaluate(connection)
    review = Review.objects.get(subject_kind=kind)
    move()
    assert review.pk != getattr(next_in_queue(reviewer), "pk", None)
    text = page_of(client, review)
    assert "of another provider or client" in text
    assert 'value="approved"' not in text
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer)
    assert refused.value.code == "other_provider"
    kyc.evaluate(connection)
    assert set(Review.objects.values_list("status", flat=True)) == {Review.Status.WAITING}


@pytest.mark.django_db
def test_an_approval_under_another_provider_or_client_is_nobodys_now_and_counts_again_later(reviewer, move, settings):
    connection = person()
    entity = factories.consent(connection).entity
    decide(kyc.evaluate(connection), reviewer)
    decide(Review.objects.get(entity=entity), reviewer)
    before = settings.EPROSPERA_BASE_URL, settings.SOCIAL_AUTH_EPROSPERA_KEY
    move()
    kyc.evaluate(connection)
    assert kyc.status_for(connection.user) is None
    assert kyc.status_for_entity(connection.user, entity) is None
    assert why(run(entity_facts(entity)), "representative") == "warn nobody"
    settings.EPROSPERA_BASE_URL, settings.SOCIAL_AUTH_EPROSPERA_KEY = before
    assert kyc.status_for(connection.user).status == Review.Status.APPROVED
    assert kyc.status_for_entity(connection.user, entity).status == Review.Status.APPROVED


@pytest.mark.django_db
def test_the_admin_marks_connections_of_another_provider_or_client(client, move):
    connection = person()
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    pages = [
        reverse("admin:django_eprospera_connection_changelist"),
        reverse("admin:django_eprospera_connection_change", args=[connection.pk]),
        reverse("admin:django_eprospera_naturalperson_change", args=[connection.natural_person.pk]),
        reverse("admin:django_eprospera_residency_change", args=[connection.residency.pk]),
    ]
    mark = "of another provider or client"
    assert not any(mark in client.get(page).content.decode() for page in pages)
    move()
    assert all(mark in client.get(page).content.decode() for page in pages)
