"""Staff pages: what is shown masked, what unmasking leaves behind, what cannot be done, and rows that do not open."""

import django
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection as database
from django.test import override_settings
from django.urls import reverse

from django_eprospera import audit, documents, kyc
from django_eprospera.audit.rows import subject_of
from django_eprospera.kyc.checks import results_of
from django_eprospera.kyc.decisions import facts_version
from django_eprospera.kyc.facts import facts_of
from django_eprospera.models import AuditEntry, Connection, Decision, PendingRevocation, Review
from django_eprospera.testing import factories

pytestmark = pytest.mark.django_db

OTHER_KEY = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="
MODELS = [
    "auditentry", "connection", "decision", "idverification", "legalentity", "naturalperson", "pendingrevocation",
    "residency", "review",
]  # fmt: skip
# Distinctive values, none of which may show while it is masked.
SECRETS = {
    "name": "Canary Zanahoria",
    "given_name": "Canary",
    "surname": "Zanahoria",
    "resident_permit_number": "90001234564217",
    "phone_number": "+504 9999 1234",
    "country_of_birth": "Utopia",
}


def staff(*codenames, **fields):
    user = factories.user(is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return get_user_model().objects.get(pk=user.pk)


@pytest.fixture
def admin(client):
    user = factories.user(is_staff=True, is_superuser=True)
    client.force_login(user)
    client.user = user
    return client


@pytest.fixture
def connection():
    row = factories.connection()
    factories.natural_person(row, **SECRETS)
    factories.residency(row)
    factories.id_verification(row)
    entity = factories.consent(row).entity
    factories.document(entity)
    factories.synced(row)
    kyc.evaluate(row)
    return row


def version_of(review):
    facts = facts_of(review)
    return facts_version(review, facts, results_of(review, facts))


def url(model, page, *args):
    return reverse(f"admin:django_eprospera_{model}_{page}", args=args)


def rows_of(connection):
    entity = connection.entity_consents.get().entity
    return {
        "connection": connection,
        "naturalperson": connection.natural_person,
        "residency": connection.residency,
        "idverification": connection.id_verification,
        "legalentity": entity,
    }


@pytest.mark.parametrize("model", ["naturalperson", "legalentity"])
def test_an_address_may_not_ask_a_blind_index(admin, connection, model):
    index = {"naturalperson": SECRETS["resident_permit_number"], "legalentity": "80000000007731"}[model]
    answer = admin.get(url(model, "changelist"), {"rpn_index": index})
    assert answer.status_code in (302, 400)


@pytest.mark.parametrize("model", MODELS)
def test_every_list_opens_and_offers_no_way_to_add(admin, connection, model):
    audit.record("viewed", connection, actor=admin.user)
    review = connection.user.eprospera_reviews.get()
    seen = version_of(review)
    kyc.decide(review, reviewer=admin.user, outcome=Decision.Outcome.REJECTED, reason="Canary reason", seen=seen)
    response = admin.get(url(model, "changelist"))
    assert response.status_code == 200
    assert b"Canary" not in response.content
    assert admin.get(url(model, "add")).status_code == 403


@pytest.mark.parametrize("model", ["connection", "naturalperson", "residency", "idverification", "legalentity"])
def test_pages_of_facts_are_masked_until_shown(admin, connection, model):
    row = rows_of(connection)[model]
    text = admin.get(url(model, "change", row.pk)).content.decode()
    for secret in [
        *SECRETS.values(),
        "Example Kites",
        "Limited e-Resident",
        connection.access_token,
        connection.refresh_token,
    ]:
        assert secret not in text
    assert admin.post(url(model, "change", row.pk), {"name": "x"}).status_code == 405
    assert not AuditEntry.objects.exclude(action="stored").exists()


CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_bidirectional_controls_in_facts_are_shown_as_code_points(admin, media):
    evil = f"Mallory{CONTROLS}yrollaM"
    row = factories.connection()
    person = factories.natural_person(
        row, **dict.fromkeys(["name", "given_name", "surname", "sex", "country_of_birth", "phone_number"], evil),
        resident_permit_number=f"9000123456421{CONTROLS}", citizenships=[evil], address={"line1": evil},
    )  # fmt: skip
    factories.residency(row, residency_type=evil, version=evil)
    factories.id_verification(row, document_type=evil)
    company = factories.consent(row, factories.legal_entity(name=evil, extension=evil, type=evil)).entity
    factories.document(company, name=evil, slug=evil, version=evil)
    kyc.evaluate(row)
    reviews = [url("review", "change", review.pk) for review in Review.objects.all()]
    decision = kyc.decide(
        row.user.eprospera_reviews.get(), reviewer=admin.user, outcome="rejected", reason="No.",
        seen=version_of(row.user.eprospera_reviews.get()),
    )  # fmt: skip
    shown = [
        *(admin.get(page) for page in reviews),
        *(admin.get(url(model, page)) for model in MODELS for page in ["changelist"]),
        *(admin.get(url(model, "change", each.pk)) for model, each in rows_of(row).items()),
        *(admin.post(url(model, "show", each.pk)) for model, each in rows_of(row).items()),
        admin.post(url("decision", "show", decision.pk)),
    ]
    assert {page.status_code for page in shown} == {200}
    assert not [page.request["PATH_INFO"] for page in shown if set(page.content.decode()) & set(CONTROLS)]
    text = "".join(page.content.decode() for page in shown)
    assert "Mallory[U+202A][U+202B][U+202C][U+202D][U+202E][U+2066]" in text
    assert person.name == evil, "what is kept is what the provider said"


def test_a_masked_permit_number_keeps_its_end(admin, connection):
    text = admin.get(url("naturalperson", "change", connection.natural_person.pk)).content.decode()
    assert "••••4217" in text


def test_showing_is_a_post_with_a_permission_and_leaves_the_fields_names(client, connection):
    page = url("naturalperson", "show", connection.natural_person.pk)
    for missing in ("view_personal_data", "view_naturalperson"):
        client.force_login(staff(*{"view_personal_data", "view_naturalperson"} - {missing}))
        assert client.post(page).status_code == 403
    reader = staff("view_personal_data", "view_naturalperson")
    client.force_login(reader)
    assert client.get(page).status_code == 405
    assert not AuditEntry.objects.exclude(action="stored").exists()
    response = client.post(page)
    for secret in SECRETS.values():
        assert secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    entry = AuditEntry.objects.exclude(action="stored").get()
    assert (entry.action, entry.actor, entry.subject) == (
        "viewed", reader, f"django_eprospera.naturalperson:{connection.natural_person.pk}",
    )  # fmt: skip
    assert {"name", "resident_permit_number"} <= set(entry.detail["fields"])
    assert "Canary" not in str(entry.detail)


def test_staff_without_the_permission_is_offered_no_button(client, connection):
    client.force_login(staff("view_naturalperson"))
    text = client.get(url("naturalperson", "change", connection.natural_person.pk)).content.decode()
    assert "record this view" not in text


@pytest.mark.parametrize("page", ["changelist", "change", "show"])
def test_people_who_are_not_staff_see_nothing(client, connection, page):
    client.force_login(factories.user())
    arguments = [] if page == "changelist" else [connection.natural_person.pk]
    response = client.post(url("naturalperson", page, *arguments))
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("model", ["naturalperson", "residency", "idverification", "legalentity", "connection"])
def test_a_row_that_does_not_open_says_so_and_breaks_nothing(admin, connection, model):
    row = rows_of(connection)[model]
    with override_settings(FIELD_ENCRYPTION_KEY=OTHER_KEY):
        listed = admin.get(url(model, "changelist"))
        page = admin.get(url(model, "change", row.pk))
    assert (listed.status_code, page.status_code) == (200, 200)
    if model != "connection":
        assert "cannot be decrypted" in page.content.decode()


def test_one_row_that_does_not_open_leaves_the_others_in_the_list(admin, connection):
    other = factories.natural_person(factories.connection())
    with database.cursor() as cursor:
        cursor.execute("SELECT resident_permit_number FROM django_eprospera_naturalperson")
        foreign = cursor.fetchall()[0][0]
        cursor.execute("UPDATE django_eprospera_naturalperson SET resident_permit_number = %s", [foreign])
    text = admin.get(url("naturalperson", "changelist")).content.decode()
    assert text.count("cannot be decrypted") == 1
    assert text.count("••••4217") == 1
    assert admin.get(url("naturalperson", "change", other.pk)).status_code == 200


# Files


def test_a_file_opens_with_the_permission_and_leaves_an_entry(client, connection):
    picture = connection.id_verification.images.get(kind="face")
    document = connection.entity_consents.get().entity.documents.get()
    for row, name, content, detail in (
        (picture, "picture", documents.read(picture), {}),
        (picture, "thumbnail", documents.thumbnail(picture), {"part": "thumbnail"}),
        (document, "document", documents.read(document), {}),
    ):
        page = reverse(f"admin:django_eprospera_{name}", args=[row.pk])
        client.force_login(staff("view_review", "view_idverification"))
        assert client.get(page).status_code == 403
        client.force_login(staff("view_personal_data"))
        response = client.get(page)
        assert response.content == content
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in response["Cache-Control"]
        assert "Canary" not in response["Content-Disposition"]
        entry = AuditEntry.objects.filter(action="opened_file").latest("position")
        assert (entry.subject, entry.detail) == (subject_of(row), detail)
    assert AuditEntry.objects.filter(action="opened_file").count() == 3


def test_a_file_that_does_not_open_is_a_page_and_no_torn_download(admin, connection):
    picture = connection.id_verification.images.get(kind="face")
    page = reverse("admin:django_eprospera_picture", args=[picture.pk])
    with override_settings(FIELD_ENCRYPTION_KEY=OTHER_KEY):
        response = admin.get(page)
    assert response.status_code == 409
    assert response["Content-Type"].startswith("text/html")
    documents.storage().delete(picture.storage_name)
    assert admin.get(page).status_code == 409


# Connections


def test_connections_show_state_and_cause_and_no_token(admin, connection):
    factories.connection(state=Connection.State.REAUTHORIZE, state_cause=Connection.Cause.INVALID_GRANT)
    text = admin.get(url("connection", "changelist")).content.decode()
    assert "sign in again" in text
    assert "no longer accepts the grant" in text
    assert connection.sub not in text
    filtered = admin.get(url("connection", "changelist"), {"state__exact": "reauthorize"}).content.decode()
    assert "1 connection" in filtered


def test_disconnecting_asks_first_then_erases_and_is_audited(admin, connection, media):
    data = {"action": "disconnect", "_selected_action": [str(connection.pk)]}
    asked = admin.post(url("connection", "changelist"), data)
    assert asked.status_code == 200
    assert "cannot be undone" in asked.content.decode()
    assert Connection.objects.exists()
    assert admin.post(url("connection", "changelist"), {**data, "confirmed": "yes"}).status_code == 302
    assert not Connection.objects.exists()
    assert PendingRevocation.objects.count() == 2
    assert AuditEntry.objects.get(action="disconnected").actor == admin.user
    assert "Canary" not in str(list(LogEntry.objects.values()))


def test_pending_revocations_show_no_token(admin, connection):
    connection.delete()
    row = PendingRevocation.objects.first()
    for page in (url("pendingrevocation", "changelist"), url("pendingrevocation", "change", row.pk)):
        response = admin.get(page)
        assert response.status_code == 200
        assert row.token not in response.content.decode()


@pytest.mark.parametrize("action", ["sync_now", "disconnect"])
def test_actions_need_their_permission(client, connection, action):
    client.force_login(staff("view_connection"))
    data = {"action": action, "_selected_action": [str(connection.pk)], "confirmed": "yes"}
    client.post(url("connection", "changelist"), data)
    connection.refresh_from_db()
    assert connection.sync_requested_at is None


def test_a_queue_that_is_down_is_a_message_and_no_error_page(admin, connection, settings, caplog):
    settings.TASKS = {"default": {"BACKEND": "tests.broken_queue.BrokenQueue"}}
    admin.raise_request_exception = False
    data = {"action": "sync_now", "_selected_action": [str(connection.pk)]}
    answer = admin.post(url("connection", "changelist"), data, follow=True)
    assert answer.status_code == 200
    assert "The task queue cannot be reached." in answer.content.decode()
    assert "could not be enqueued: ConnectionError" in caplog.text
    assert "queue.internal" not in caplog.text
    assert Connection.objects.get().sync_requested_at is None, "it may be tried again at once"


def test_sync_now_asks_once(client, connection, settings):
    home = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    settings.TASKS = {"default": {"BACKEND": f"{home}.backends.dummy.DummyBackend"}}
    client.force_login(staff("view_connection", "change_connection"))
    data = {"action": "sync_now", "_selected_action": [str(connection.pk)]}
    first = client.post(url("connection", "changelist"), data, follow=True).content.decode()
    again = client.post(url("connection", "changelist"), data, follow=True).content.decode()
    assert "1 connection is being synced" in first
    assert "0 connections are being synced" in again


def test_nothing_is_deleted_by_hand(admin, connection):
    factories.connection().delete()
    rows = rows_of(connection) | {
        "pendingrevocation": PendingRevocation.objects.first(),
        "auditentry": audit.record("viewed", "thing:1"),
        "review": connection.user.eprospera_reviews.get(),
    }
    for model, row in rows.items():
        assert admin.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403, model
        assert type(row).objects.filter(pk=row.pk).exists(), model


def test_deleting_a_user_in_the_admin_takes_the_facts_along(admin, connection):
    user = connection.user
    response = admin.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})
    assert response.status_code == 302
    assert not Connection.objects.exists()
    assert not get_user_model().objects.filter(pk=user.pk).exists()


def test_decisions_show_their_evidence_on_request_and_whether_they_hold(admin, connection):
    review = connection.user.eprospera_reviews.get()
    seen = version_of(review)
    decision = kyc.decide(
        review, reviewer=admin.user, outcome=Decision.Outcome.REJECTED, reason="<b>Canary</b>", seen=seen
    )
    masked = admin.get(url("decision", "change", decision.pk)).content.decode()
    assert "Canary" not in masked
    assert "its digest is correct" in masked
    shown = admin.post(url("decision", "show", decision.pk)).content.decode()
    assert "&lt;b&gt;Canary&lt;/b&gt;" in shown
    assert "Zanahoria" in shown
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute("UPDATE django_eprospera_decision SET outcome = 'approved'")
    assert "it was changed after it was taken" in admin.get(url("decision", "change", decision.pk)).content.decode()


def test_pages_carry_nothing_inline(admin, connection):
    pages = [url(model, "changelist") for model in MODELS]
    pages += [url(model, "change", row.pk) for model, row in rows_of(connection).items()]
    pages.append(url("review", "change", connection.user.eprospera_reviews.get().pk))
    for page in pages:
        text = admin.get(page).content.decode()
        assert "<style" not in text, page
        assert " style=" not in text, page
        assert "onclick" not in text, page
        assert text.count("<script") == text.count("<script src=") + text.count('<script id="django-admin'), page


def test_pages_speak_spanish_dates(admin, connection):
    admin.cookies.load({"django_language": "es"})
    text = admin.post(url("naturalperson", "show", connection.natural_person.pk)).content.decode()
    assert "17 de mayo de 1990" in text
