"""Every field of the provider's payloads is declared as a fact, and every declared fact reaches sync, KYC and the admin."""

import dataclasses

import pytest
from django.contrib import admin
from django.db.models import Field

from django_eprospera.kyc.facts import entity_facts, person_facts
from django_eprospera.models import (
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    VerificationImage,
)
from django_eprospera.models.person import StoredFile
from django_eprospera.provider import payloads
from django_eprospera.testing import factories

PAYLOADS = {
    payloads.NaturalPerson: NaturalPerson,
    payloads.Residency: Residency,
    payloads.IdVerification: IdVerification,
    payloads.LegalEntity: LegalEntity,
    payloads.EntityDocument: EntityDocument,
}
# Kept as files instead of columns.
FILES = {"file_url", *(f"{kind}_url" for kind in VerificationImage.Kind.values)}
# Columns that are no facts of the provider.
OWN = {"id", "connection", "rpn_index", "issuer", "updated_at", "entity"} | {
    field.name for field in StoredFile._meta.local_fields
}


def leaves(payload, prefix=""):
    """Yield the names of a payload's fields; those of a nested answer, but not of an address, with a dot."""
    for field in dataclasses.fields(payload):
        nested = getattr(payloads, field.type.removesuffix(" | None"), None)
        if dataclasses.is_dataclass(nested) and nested is not payloads.Address:
            yield from leaves(nested, f"{field.name}.")
        else:
            yield prefix + field.name


@pytest.mark.parametrize(("payload", "model"), PAYLOADS.items())
def test_every_field_of_a_payload_is_a_declared_fact_or_a_file(payload, model):
    declared = {fact.source or fact.name for fact in model.FACTS}
    assert set(leaves(payload)) - FILES == declared


@pytest.mark.parametrize("model", PAYLOADS.values())
def test_every_column_is_a_declared_fact_or_the_packages_own(model):
    columns = {field.name for field in model._meta.get_fields() if isinstance(field, Field)}
    assert columns - OWN == set(model.fact_names()) - OWN
    assert set(model.fact_names()) <= columns


@pytest.mark.django_db
def test_every_declared_fact_is_kept_as_evidence():
    connection = factories.connection()
    factories.natural_person(connection)
    factories.residency(connection)
    factories.id_verification(connection)
    entity = factories.consent(connection).entity
    factories.document(entity)
    person, company = person_facts(connection).snapshot, entity_facts(entity).snapshot
    kept = {
        NaturalPerson: {*person["identity"]["person"], *person["contact"]},
        Residency: {*person["residency"]},
        IdVerification: {*person["identity"]["identity_check"], *person["identity_check_date"]},
        LegalEntity: {*company["identity"]["entity"], *company["office"]},
        EntityDocument: {*company["documents"][0]} - {"digest", "error"},
    }
    assert {model: set(model.fact_names()) for model in kept} == kept


@pytest.mark.parametrize("model", [NaturalPerson, Residency, IdVerification, LegalEntity])
def test_every_declared_fact_with_a_section_is_on_the_admin_page(model):
    groups = admin.site.get_model_admin(model).groups
    shown = [name for _, names in groups for name in names if name != "updated_at"]
    assert shown == [fact.name for fact in model.FACTS if fact.section]
    assert set(model.review_names()) <= set(shown)
