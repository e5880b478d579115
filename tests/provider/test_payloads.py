"""What is read from the provider's answers: the contract's own examples, its older variants, and any JSON there is."""

import datetime as dt
import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_eprospera.errors import MalformedAnswer
from django_eprospera.provider.discovery import Discovery
from django_eprospera.provider.grants import Tokens
from django_eprospera.provider.payloads import (
    ActiveResidency,
    Address,
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    Userinfo,
)

ASKED_AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
ENTITY_ID = "3e1b5c77-91d0-4a3b-8f8e-2a6c0d9e4f10"
HOME = Address(
    line1="Calle Inventada 12", line2=None, city="Roatan", state=None, postal_code="34101", country="Honduras"
)


# Values with the right names and the wrong insides find more than values at random.
NAMES = st.sampled_from(
    [
        *("data", "id", "name", "sub", "type", "documents", "documentFront", "address", "line1", "citizenships"),
        *("dateOfBirth", "date", "sex", "wasEverResident", "activeResidency", "effectiveDate", "version", "fileUrl"),
        *("createdAt", "issuer", "token_endpoint", "access_token", "token_type", "expires_in", "scopes_supported"),
    ]
)
WORDS = st.sampled_from([ENTITY_ID, "Bearer", "2024-03-15", "9999-12-31T23:59:59-12:00", "https://p.example"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | WORDS
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=8),
    max_leaves=30,
)


def payload(name):
    return json.loads((Path(__file__).parents[1] / "payloads" / f"{name}.json").read_text("utf-8"))


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.UTC)


class TestExamples:
    def test_a_person(self):
        person = NaturalPerson.from_json(payload("natural-person.person"))
        assert person == NaturalPerson(
            name="Lucía Example",
            given_name="Lucía",
            surname="Example",
            resident_permit_number="90000000004217",
            country_of_birth="Honduras",
            citizenships=("Honduras", "Spain"),
            date_of_birth=dt.date(1988, 2, 29),
            sex="F",
            address=HOME,
            phone_number="+50400000000",
        )
        assert person.has_well_formed_permit_number

    def test_a_person_of_whom_little_is_known(self):
        person = NaturalPerson.from_json(payload("natural-person.sparse"))
        assert (person.name, person.citizenships) == ("Teo Sample", ())
        assert person.resident_permit_number is person.date_of_birth is person.sex is person.address is None
        assert not person.has_well_formed_permit_number

    def test_no_person(self):
        assert NaturalPerson.from_json(payload("natural-person.none")) is None

    def test_a_person_in_the_older_form(self):
        person = NaturalPerson.from_json(payload("natural-person.older"))
        assert (person.date_of_birth, person.sex, person.surname) == (dt.date(1988, 2, 29), "F", None)
        assert person.citizenships == ()
        assert person.address == Address("Calle Inventada 12", None, None, None, None, "Honduras")

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (
                "open",
                Residency(
                    was_ever_resident=True,
                    active=ActiveResidency(utc(2025, 1, 10), None, "e-Resident", "v08.29.2024"),
                ),
            ),
            (
                "ending",
                Residency(
                    was_ever_resident=True,
                    active=ActiveResidency(utc(2025, 1, 10), utc(2027, 1, 10), "Limited e-Resident", "v10.20.2022"),
                ),
            ),
            ("lapsed", Residency(was_ever_resident=True, active=None)),
            ("never", Residency(was_ever_resident=False, active=None)),
            (
                "older",
                Residency(was_ever_resident=True, active=ActiveResidency(utc(2025, 1, 10), None, "Resident", "8.29")),
            ),
        ],
    )
    def test_a_residency(self, name, expected):
        assert Residency.from_json(payload(f"residency.{name}")) == expected

    def test_an_identity_check(self):
        assert IdVerification.from_json(payload("id-verification.approved")) == IdVerification(
            id="2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c90",
            kind="veriff",
            document_type="passport",
            date=utc(2026, 3, 4, 15, 20),
            status="approved",
            document_front_url="https://files.example/front.jpg?sig=a",
            document_back_url=None,
            face_url="https://files.example/face.jpg?sig=b",
        )

    def test_no_identity_check(self):
        assert IdVerification.from_json(payload("id-verification.none")) is None

    def test_an_identity_check_without_images(self):
        check = IdVerification.from_json({"id": "x", "documents": None})
        assert check.document_front_url is check.document_back_url is check.face_url is None

    def test_the_list_of_entities_leaves_details_out(self):
        (entity,) = LegalEntity.list_from_json(payload("legal-entities.one"))
        assert (entity.id, entity.display_name) == (uuid.UUID(ENTITY_ID), "Invented Kites LLC")
        assert entity.formation_date is entity.principal_office_address is entity.created_at is None

    def test_nothing_shared(self):
        assert LegalEntity.list_from_json(payload("legal-entities.empty")) == ()

    def test_an_entity_in_full(self):
        assert LegalEntity.from_json(payload("legal-entity.one")) == LegalEntity(
            id=uuid.UUID(ENTITY_ID),
            option_id="llc",
            type="Limited Liability Company",
            name="Invented Kites",
            extension="LLC",
            name_starts_with_extension=False,
            resident_permit_number="80000000007731",
            formation_date=dt.date(2024, 5, 6),
            registration_date=dt.date(2024, 5, 7),
            dissolution_date=None,
            principal_office_address=HOME,
            created_at=utc(2024, 5, 6, 10),
        )

    def test_documents_of_an_entity(self):
        certificate, rider = EntityDocument.list_from_json(payload("legal-entity-documents.two"))
        assert certificate == EntityDocument(
            id=uuid.UUID("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e5f"),
            name="Certificate of Organization",
            slug="certificate-of-organization",
            version="1.0",
            file_url="https://files.example/cert.pdf?sig=c",
            created_at=utc(2024, 5, 7, 9),
        )
        assert rider.slug is rider.version is rider.file_url is rider.created_at is None

    def test_documents_in_the_older_form(self):
        (document,) = EntityDocument.list_from_json(payload("legal-entity-documents.older"))
        assert (document.name, document.version) == (None, "3")

    def test_userinfo(self):
        userinfo = Userinfo.from_json(payload("userinfo.full"))
        assert (userinfo.sub, userinfo.email) == ("6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b33", "lucia@example.test")
        assert userinfo.email_verified is False

    def test_userinfo_with_nulls_and_without_fields_is_the_same(self):
        sparse = Userinfo.from_json(payload("userinfo.openid-only"))
        nulls = {**payload("userinfo.openid-only"), "name": None, "email": None, "email_verified": None}
        assert sparse == Userinfo.from_json(nulls)

    def test_tokens(self):
        tokens = Tokens.from_json(payload("token.with-refresh"), ASKED_AT)
        assert tokens.expires_at == ASKED_AT + dt.timedelta(hours=1)
        assert tokens.refresh_token == "rt_1f0c2b7d9a"
        assert tokens.scope == "openid profile email offline_access"
        assert tokens.id_token.count(".") == 2

    def test_discovery(self):
        discovery = Discovery.from_json(payload("discovery.provider"), "https://portal.eprospera.com")
        assert discovery.token_endpoint == "https://portal.eprospera.com/api/oauth/token"
        assert len(discovery.scopes_supported) == 9


class TestDetails:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("M", "M"), ("Male", "M"), ("Female", "F"), ("FEMALE", "F"), ("Other", "Other"), ("", ""), (None, None)],
    )
    def test_long_words_for_sex_become_short(self, value, expected):
        assert NaturalPerson.from_json({"sex": value}).sex == expected

    @pytest.mark.parametrize(
        "value",
        [
            "1990-12-31",
            "1990-12-31T00:00:00.000Z",
            "1990-12-31T23:59:59-12:00",
            "1990-12-31T00:00:00+14:00",
            "1990-12-31 anything",
        ],
    )
    def test_a_calendar_date_is_the_day_as_written(self, value):
        assert NaturalPerson.from_json({"dateOfBirth": value}).date_of_birth == dt.date(1990, 12, 31)

    @pytest.mark.parametrize("value", ["31.12.1990", "1990-13-01", "1990-W01-1", "19901231", "1990-12-311", "", "٠١"])
    def test_other_dates_are_malformed(self, value):
        with pytest.raises(MalformedAnswer, match="dateOfBirth must be a date"):
            NaturalPerson.from_json({"dateOfBirth": value})

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("2024-03-15T00:00:00.000Z", utc(2024, 3, 15)),
            ("2024-03-15T00:00:00-06:00", utc(2024, 3, 15, 6)),
            ("2024-03-15T10:00:00", utc(2024, 3, 15, 10)),
            ("2024-03-15", utc(2024, 3, 15)),
        ],
    )
    def test_a_timestamp_is_moved_to_utc(self, value, expected):
        moment = IdVerification.from_json({"date": value}).date
        assert (moment, moment.utcoffset()) == (expected, dt.timedelta(0))

    @pytest.mark.parametrize("value", ["now", "0001-01-01T00:00:00+14:00", "2024-03-15T25:00:00Z", "20240315T000000Z"])
    def test_other_timestamps_are_malformed(self, value):
        with pytest.raises(MalformedAnswer, match="date must be a timestamp"):
            IdVerification.from_json({"date": value})

    @pytest.mark.parametrize(
        "value", ["9000000000421", "900000000042171", "9000000000421x", "٩٠٠٠٠٠٠٠٠٠٠٠٠٠", "90000000004217\n"]
    )
    def test_an_odd_permit_number_is_kept_and_told(self, value):
        person = NaturalPerson.from_json({"residentPermitNumber": value})
        assert person.resident_permit_number == value
        assert not person.has_well_formed_permit_number

    @pytest.mark.parametrize(
        ("first", "extension", "expected"),
        [
            (False, "LLC", "Kites LLC"),
            (True, "Fundación", "Fundación Kites"),
            (True, None, "Kites"),
            (False, "", "Kites"),
        ],
    )
    def test_the_display_name_has_the_order_of_the_entity(self, first, extension, expected):
        value = {"id": ENTITY_ID, "name": "Kites", "extension": extension, "nameStartsWithExtension": first}
        assert LegalEntity.from_json({"data": value}).display_name == expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, 3600),
            ("soon", 3600),
            ([], 3600),
            (True, 3600),
            (float("nan"), 3600),
            ("120", 120),
            (59.9, 59),
            (0, 1),
            (-5, 1),
            (10**12, 86_400 * 366),
        ],
    )
    def test_a_strange_lifetime_does_not_lose_the_tokens(self, value, expected):
        answer = {"access_token": "a", "token_type": "bearer", "expires_in": value, "refresh_token": "r"}
        assert Tokens.from_json(answer, ASKED_AT).expires_at == ASKED_AT + dt.timedelta(seconds=expected)

    @pytest.mark.parametrize(
        "change",
        [
            {"access_token": ""},
            {"access_token": None},
            {"access_token": 7},
            {"access_token": "a\r\nX-Evil: 1"},
            {"access_token": "a" * 16_385},
            {"token_type": "DPoP"},
            {"token_type": None},
            {"refresh_token": ["r"]},
            {"id_token": {}},
        ],
    )
    def test_unusable_tokens_are_malformed(self, change):
        with pytest.raises(MalformedAnswer):
            Tokens.from_json({"access_token": "a", "token_type": "Bearer", **change}, ASKED_AT)

    def test_no_refresh_token_means_that_the_old_one_stays(self):
        assert Tokens.from_json({"access_token": "a", "token_type": "Bearer"}, ASKED_AT).refresh_token is None


class TestNonsense:
    @pytest.mark.parametrize(
        ("read", "value", "place"),
        [
            (NaturalPerson.from_json, [], "The whole answer must be an object"),
            (NaturalPerson.from_json, {"name": 7}, "name must be a string"),
            (NaturalPerson.from_json, {"address": {"line1": []}}, r"address\.line1 must be a string"),
            (NaturalPerson.from_json, {"citizenships": ["Honduras", 7]}, r"citizenships\[1\] must be a string"),
            (NaturalPerson.from_json, {"citizenships": "Honduras"}, "citizenships must be a list"),
            (NaturalPerson.from_json, {"citizenships": ["x"] * 201}, "citizenships must be at most 200 items"),
            (NaturalPerson.from_json, {"name": "x" * 1001}, "name must be at most 1000 characters"),
            (NaturalPerson.from_json, {"name": "a\0b"}, "name must be well-formed text"),
            (NaturalPerson.from_json, {"name": "\ud800"}, "name must be well-formed text"),
            (Residency.from_json, {}, "wasEverResident must be true or false"),
            (Residency.from_json, {"wasEverResident": "yes"}, "wasEverResident must be true or false"),
            (LegalEntity.from_json, {}, "data must be an object"),
            (LegalEntity.from_json, {"data": {"id": "7", "name": "x"}}, r"data\.id must be a UUID"),
            (LegalEntity.from_json, {"data": {"id": ENTITY_ID}}, r"data\.name must be a string"),
            (LegalEntity.list_from_json, {"data": None}, "data must be a list"),
            (LegalEntity.list_from_json, {"data": [None]}, r"data\[0\] must be an object"),
            (EntityDocument.list_from_json, {"data": [{}]}, r"data\[0\]\.id must be a string"),
            (Userinfo.from_json, {}, "sub must be a string"),
            (Userinfo.from_json, None, "The whole answer must be an object"),
        ],
    )
    def test_the_place_is_named_and_the_value_is_not(self, read, value, place):
        with pytest.raises(MalformedAnswer, match=place):
            read(value)

    @pytest.mark.parametrize(
        "read",
        [
            NaturalPerson.from_json,
            Residency.from_json,
            IdVerification.from_json,
            LegalEntity.from_json,
            LegalEntity.list_from_json,
            EntityDocument.list_from_json,
            Userinfo.from_json,
            lambda value: Tokens.from_json(value, ASKED_AT),
            lambda value: Discovery.from_json(value, "https://p.example"),
        ],
    )
    @settings(max_examples=200, deadline=None)
    @given(value=ANY_JSON)
    def test_any_json_is_read_or_malformed_and_nothing_else(self, read, value):
        hidden = None
        try:
            read(value)
        except MalformedAnswer as error:
            hidden = error.__context__
        assert hidden is None  # it would quote the value


class TestMasks:
    @pytest.mark.parametrize(
        "fact",
        [
            NaturalPerson.from_json({"name": "CANARY", "address": {"line1": "CANARY"}}),
            NaturalPerson.from_json({"address": {"line1": "CANARY"}}).address,
            Residency.from_json({"wasEverResident": True, "activeResidency": {"residencyType": "CANARY"}}),
            Residency.from_json({"wasEverResident": True, "activeResidency": {"residencyType": "CANARY"}}).active,
            IdVerification.from_json({"id": "CANARY", "documents": {"face": "https://x/?CANARY"}}),
            LegalEntity.from_json({"data": {"id": ENTITY_ID, "name": "CANARY"}}),
            EntityDocument.list_from_json({"data": [{"id": ENTITY_ID, "fileUrl": "https://x/?CANARY"}]}),
            Userinfo.from_json({"sub": "CANARY", "email": "CANARY"}),
            Tokens.from_json(
                {"access_token": "CANARY", "token_type": "Bearer", "refresh_token": "CANARY", "id_token": "CANARY"},
                ASKED_AT,
            ),
        ],
        ids=lambda fact: type(fact).__name__,
    )
    def test_printing_a_fact_shows_nothing_of_it(self, fact):
        assert "CANARY" not in f"{fact!r} {fact} {[fact]}"
