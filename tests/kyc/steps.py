"""What the tests of reviews and decisions share."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from django_eprospera import kyc
from django_eprospera.kyc.checks import results_of
from django_eprospera.kyc.decisions import facts_version
from django_eprospera.kyc.facts import facts_of
from django_eprospera.models import Decision
from django_eprospera.testing import factories

OTHER_KEY = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="
APPROVED, REJECTED, REOPENED = Decision.Outcome.APPROVED, Decision.Outcome.REJECTED, Decision.Outcome.REOPENED


def make_reviewer(*, permissions=("decide_review", "view_personal_data"), **fields):
    user = factories.user(is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return get_user_model().objects.get(pk=user.pk)


def person(**facts):
    """A connection with everything that a review needs; `facts` replaces parts of it."""
    connection = factories.connection()
    factories.natural_person(connection, **facts.get("person", {}))
    factories.residency(connection, **facts.get("residency", {}))
    factories.id_verification(connection, **facts.get("verification", {}))
    return connection


def decide(review, reviewer, outcome=APPROVED, reason="", seen=None):
    return kyc.decide(
        review,
        reviewer=reviewer,
        outcome=outcome,
        reason=reason,
        seen=version_of(review) if seen is None else seen,
    )


def version_of(review):
    """What the page of the review hands to its form."""
    facts = facts_of(review)
    return facts_version(review, facts, results_of(review, facts) if facts else [])


def why(findings, code):
    """The outcome and reason of one check, e.g. "warn soon"; None when it had nothing to look at."""
    found = [finding for finding in findings if finding.code == code]
    return f"{found[0].outcome.value} {found[0].why}" if found else None


def page_of(client, review):
    """The review's page, as a reviewer with every permission sees it."""
    user = make_reviewer()
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_review", "view_personal_data"]))
    client.force_login(user)
    return client.get(reverse("admin:django_eprospera_review_change", args=[review.pk])).content.decode()
