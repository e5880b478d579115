"""Case files: exported through the admin or by the command, and verified offline by a program without Django."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.urls import reverse

from django_eprospera import documents, kyc
from django_eprospera.keys import signing_keys
from django_eprospera.models import AuditEntry, Review
from django_eprospera.testing import factories
from django_eprospera.verify import read_keys, verify
from tests.casefile.steps import ALL, ROOT, checked, download, members, public_key, staff
from tests.kyc.steps import decide, person

pytestmark = pytest.mark.django_db


def test_a_case_goes_from_the_page_of_the_review_to_an_auditor_without_django(client, officer, review, tmp_path):
    page = client.get(reverse("admin:django_eprospera_review_change", args=[review.pk])).content.decode()
    assert f'action="{reverse("admin:django_eprospera_review_export", args=[review.pk])}"' in page
    answer = download(client, review)
    (tmp_path / "case.zip").write_bytes(b"".join(answer.streaming_content))
    assert "no-store" in answer["Cache-Control"]
    assert re.fullmatch(
        rf'attachment; filename="case-{str(review.pk)[:8]}-\d{{8}}T\d{{6}}Z\.zip"', answer["Content-Disposition"]
    )
    client.logout()
    published = client.get(reverse("eprospera:audit_key"))
    assert published["Content-Type"] == "application/jwk-set+json"
    (tmp_path / "audit-key.json").write_bytes(published.content)
    shutil.copy(ROOT / "django_eprospera/verify.py", tmp_path / "alone.py")
    as_module = (
        "import runpy, sys; sys.modules['django'] = None; sys.path.insert(0, sys.argv.pop(1)); "
        "runpy.run_module('django_eprospera.verify', run_name='__main__')"
    )
    for program in (["-c", as_module, str(ROOT)], ["alone.py"]):
        arguments = [sys.executable, "-I", *program, "case.zip", "--key", "audit-key.json"]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("The case file verifies.\n")
        for said in ("All 7 files are there", "audit entries stand", "No entry about the review was left out",
                     "The 2 decisions", "Not proved:"):  # fmt: skip
            assert said in done.stdout, done.stdout


def test_the_zip_opens_with_ordinary_programs_and_has_everything(exported, review, officer):
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        assert archive.testzip() is None
    files = members(exported)
    assert set(files) == {
        "files/face.png", "files/document_front.png", "files/document_back.png", "review.json", "decisions.json",
        "audit.json", "summary.html", "manifest.json", "manifest.sig",
    }  # fmt: skip
    picture = review.user.eprospera.id_verification.images.get(kind="face")
    assert files["files/face.png"] == documents.read(picture)
    assert json.loads(files["review.json"])["facts"]["identity"]["person"]["name"] == "Ada <b>Example</b>"
    assert [each["outcome"] for each in json.loads(files["decisions.json"])] == ["rejected", "approved"]
    entries = [each["entry"] for each in json.loads(files["audit.json"])["entries"]]
    # The entry about the connection is none here: its facts were not synced.
    assert {entry["subject"] for entry in entries} == {f"django_eprospera.review:{review.pk}"}
    assert [entry["action"] for entry in entries] == ["stored", "decided", "viewed", "decided", "exported"]
    manifest = json.loads(files["manifest.json"])
    assert (manifest["purpose"], manifest["exporter"]) == ("audit", str(officer.pk))


def test_the_summary_escapes_runs_nothing_and_speaks_the_reviewers_language(client, review):
    for language, heading in (("en", "Case file"), ("es", "Expediente")):
        content = b"".join(download(client, review, HTTP_ACCEPT_LANGUAGE=language).streaming_content)
        text = members(content)["summary.html"].decode()
        assert f"<h1>{heading}</h1>" in text
        assert f'<html lang="{language}">' in text
        assert "Ada &lt;b&gt;Example&lt;/b&gt;" in text
        assert "Blurred &lt;script&gt;." in text
        assert "<script" not in text
        assert "default-src 'none'" in text


def test_the_export_is_recorded_before_a_byte_is_sent(client, review, officer):
    answer = download(client, review, "authority")
    entry = AuditEntry.objects.order_by("position").last()
    assert (entry.action, entry.actor_id, entry.subject) == (
        "exported",
        officer.pk,
        f"django_eprospera.review:{review.pk}",
    )
    assert entry.detail == {"purpose": "authority", "key": signing_keys()[0].id}
    answer.close()


def test_a_company_with_documents_and_looks_at_them(client, officer, tmp_path):
    connection = person()
    entity = factories.consent(connection).entity
    rows = [
        factories.document(entity, name=f"Paper {number}", content=factories.pdf(str(number))) for number in range(2)
    ]
    kyc.evaluate(connection)
    review = Review.objects.get(entity=entity)
    decide(review, officer)
    client.get(reverse("admin:django_eprospera_document", args=[rows[0].pk]))
    content = b"".join(download(client, review).streaming_content)
    result = checked(tmp_path, content)
    assert result.ok, result.problems
    assert {"files/document-1.pdf", "files/document-2.pdf"} <= set(members(content))
    assert set(json.loads(members(content)["manifest.json"])["subjects"]) == {
        f"django_eprospera.review:{review.pk}", f"django_eprospera.entitydocument:{rows[0].pk}",
    }  # fmt: skip
    assert any("of the 1 other subjects" in note for note in result.notes)
    assert not any("no decision names it" in note for note in result.notes)


def test_a_file_that_is_lost_is_named_and_a_new_one_is_not_what_was_decided_on(client, review, tmp_path):
    face, front = (review.user.eprospera.id_verification.images.get(kind=kind) for kind in ("face", "document_front"))
    documents.storage().delete(face.storage_name)
    documents.store(front, factories.png("another"))
    result = checked(tmp_path, b"".join(download(client, review).streaming_content))
    assert result.ok, result.problems
    assert [note.partition(":")[0] for note in result.notes if note.startswith("files/")] == [
        "files/face.png", "files/document_front.png",
    ]  # fmt: skip


def test_a_case_whose_person_disconnected_still_proves_its_decisions(client, review, tmp_path):
    review.user.eprospera.delete()
    content = b"".join(download(client, review).streaming_content)
    result = checked(tmp_path, content)
    assert result.ok, result.problems
    assert json.loads(members(content)["review.json"])["facts"] is None


def test_asgi_gets_one_chunk_at_a_time(review, officer, async_client):
    async_client.force_login(officer)

    async def fetched():
        url = reverse("admin:django_eprospera_review_export", args=[review.pk])
        answer = await async_client.post(url, {"purpose": "audit"})
        assert answer.is_async
        return b"".join([chunk async for chunk in answer.streaming_content])

    assert zipfile.ZipFile(io.BytesIO(async_to_sync(fetched)())).testzip() is None


# Who may


@pytest.mark.parametrize("missing", ["view_review", "view_personal_data", "export_review"])
def test_exporting_needs_all_permissions(client, review, missing):
    client.force_login(staff(*set(ALL) - {missing}))
    before = AuditEntry.objects.count()
    assert download(client, review).status_code == 403
    assert AuditEntry.objects.count() == before
    if missing != "view_review":
        page = client.get(reverse("admin:django_eprospera_review_change", args=[review.pk])).content.decode()
        assert "eprospera-export" not in page


def test_nobody_exports_their_own_case(client, officer):
    connection = factories.connection(officer)
    factories.natural_person(connection)
    factories.id_verification(connection)
    review = kyc.evaluate(connection)
    assert download(client, review).status_code == 403
    assert not AuditEntry.objects.filter(action="exported").exists()


def test_a_purpose_a_post_and_a_recent_authentication_are_needed(client, review, settings):
    url = reverse("admin:django_eprospera_review_export", args=[review.pk])
    assert client.get(url).status_code == 405
    for purpose in ("", "curiosity"):
        assert download(client, review, purpose).status_code == 302
    settings.EPROSPERA_RECENT_SIGN_IN = 0.000001
    answer = download(client, review)
    assert answer.status_code == 303
    assert answer["Location"].startswith(reverse("eprospera:confirm_identity"))
    assert not AuditEntry.objects.filter(action="exported").exists()


def test_without_a_key_nothing_is_offered_exported_or_recorded(client, review, settings):
    settings.EPROSPERA_SIGNING_KEY = ""
    page = client.get(reverse("admin:django_eprospera_review_change", args=[review.pk])).content.decode()
    assert "eprospera-export" not in page
    assert download(client, review).status_code == 302
    assert not AuditEntry.objects.filter(action="exported").exists()
    assert client.get(reverse("eprospera:audit_key")).json() == {"keys": []}


def test_a_decision_that_cannot_be_decrypted_stops_the_export(client, review):
    with override_settings(FIELD_ENCRYPTION_KEY=Fernet.generate_key().decode()):
        assert download(client, review).status_code == 302
    assert not AuditEntry.objects.filter(action="exported").exists()


# The command


def test_the_command_writes_a_file_for_this_user_alone_and_overwrites_none(review, tmp_path):
    path = tmp_path / "out.zip"
    out = io.StringIO()
    call_command("eprospera_export", str(review.pk), purpose="legal", output=str(path), stdout=out)
    assert "5 audit entries, 3 files" in out.getvalue()
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify(path, read_keys(public_key())).ok
    assert AuditEntry.objects.get(action="exported").actor_id is None
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("eprospera_export", str(review.pk), purpose="legal", output=str(path))


@pytest.mark.parametrize("key", ["nonsense", "00000000-0000-0000-0000-000000000000"])
def test_the_command_needs_a_review_that_exists(key):
    with pytest.raises(CommandError, match="There is no review"):
        call_command("eprospera_export", key, purpose="audit")


def test_the_command_fails_when_a_file_is_missing_and_without_a_key(review, tmp_path, settings):
    documents.storage().delete(review.user.eprospera.id_verification.images.first().storage_name)
    with pytest.raises(CommandError, match="misses 1 files"):
        call_command(
            "eprospera_export", str(review.pk), purpose="audit", output=str(tmp_path / "a.zip"), stderr=io.StringIO()
        )
    settings.EPROSPERA_SIGNING_KEY = []
    with pytest.raises(CommandError, match="EPROSPERA_SIGNING_KEY is missing"):
        call_command("eprospera_export", str(review.pk), purpose="audit")
