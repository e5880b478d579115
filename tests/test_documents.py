"""Files of the provider: what they are, how they lie in the storage, and that they open only where they belong."""

import io
import os
import re

import pytest
from cryptography.fernet import Fernet
from django.core.files.storage import storages
from django.db import transaction
from PIL import Image

from django_eprospera import documents, pictures
from django_eprospera.documents import PDF, content_type_of
from django_eprospera.errors import DocumentError, SealedValueError
from django_eprospera.models import EntityDocument, VerificationImage
from django_eprospera.pictures import PICTURES
from django_eprospera.testing import factories
from tests.peers import Peer, drips_body, huge_unannounced, response, routes

EVERYTHING = PICTURES | {PDF}


@pytest.fixture
def face(transactional_db, media):
    """A picture with a file."""
    return factories.id_verification(factories.connection(), pictures=["face"]).images.get()


@pytest.fixture
def paper(transactional_db, media):
    """A company's document with a file."""
    return factories.document(factories.legal_entity())


def path_of(row):
    return storages["default"].path(row.storage_name)


def rewrite(row, change):
    with open(path_of(row), "rb") as file:
        content = bytearray(file.read())
    with open(path_of(row), "wb") as file:
        file.write(change(content))


# What a file is


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (factories.png(), "image/png"),
        (factories.png(format_="JPEG"), "image/jpeg"),
        (factories.png(format_="WEBP"), "image/webp"),
        (factories.pdf(), "application/pdf"),
    ],
)
def test_a_file_is_known_by_its_bytes(content, expected):
    assert content_type_of(content, accept=EVERYTHING) == expected


def bomb(width, height):
    """A picture of a few kilobytes that unfolds into `width` times `height` pixels."""
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"<html><script>alert(1)</script>", "wrong_type"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "wrong_type"),
        (factories.png(format_="GIF"), "wrong_type"),
        (factories.png(format_="TIFF"), "wrong_type"),
        (factories.png()[:-40], "wrong_type"),
        (factories.png(format_="JPEG")[:900], "wrong_type"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "wrong_type"),
        (b"%!PS-Adobe-3.0", "wrong_type"),
        (bomb(8000, 5001), "too_many_pixels"),
        (bomb(10_000, 9_000), "too_many_pixels"),
        (bomb(20_000, 10_000), "too_many_pixels"),
    ],
)
def test_what_is_no_sound_picture_and_no_pdf_is_refused(content, code):
    with pytest.raises(DocumentError) as caught:
        content_type_of(content, accept=EVERYTHING)

    assert caught.value.code == code


def test_a_pdf_is_no_picture_of_an_identity_check(face):
    with pytest.raises(DocumentError, match="must be one of image/jpeg"):
        documents.store(face, factories.pdf())

    assert documents.read(face) == factories.png("face")


# How it lies in the storage


def test_what_lies_in_the_storage_is_sealed_under_a_name_that_says_nothing(face, paper, media):
    documents.thumbnail(face)
    names = sorted(path.name for path in media.iterdir())

    assert len(names) == 3
    for path in media.iterdir():
        assert re.fullmatch(r"[-0-9a-f]{36}\.sealed(\.thumbnail)?", path.name)
        assert str(face.pk) not in path.name
        content = path.read_bytes()
        assert b"PDF" not in content
        assert b"IHDR" not in content
        assert b"WEBP" not in content
    assert documents.read(paper) == factories.pdf()
    assert (paper.content_type, paper.size) == ("application/pdf", len(factories.pdf()))


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 131_072, 300_000])
def test_a_file_of_any_size_comes_back_as_it_was(paper, size):
    content = b"%PDF-" + os.urandom(size)

    documents.store(paper, content)

    assert b"".join(documents.open_chunks(EntityDocument.objects.get())) == content


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: b"",
        lambda content: content + b"\0",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ],
    ids=["cut short", "head only", "empty", "longer", "magic", "middle", "end"],
)
def test_a_file_that_was_changed_does_not_open_and_says_whose_it_is(paper, change):
    rewrite(paper, lambda content: change(bytes(content)))

    with pytest.raises(SealedValueError, match=f"EntityDocument.*{paper.pk}"):
        documents.read(paper)
    with pytest.raises(SealedValueError):
        documents.response(paper, filename="x")


def test_a_file_cut_at_the_end_of_a_chunk_does_not_pass_for_a_shorter_one(paper):
    documents.store(paper, b"%PDF-" + os.urandom(200_000))
    rewrite(paper, lambda content: content[: 15 + 2 * (65_536 + 16)])

    with pytest.raises(SealedValueError):
        documents.read(paper)


def test_a_file_of_another_row_does_not_open(face):
    other = factories.picture(face.verification, kind="document_front")
    other.storage_name = face.storage_name

    with pytest.raises(SealedValueError, match=str(other.pk)):
        documents.read(other)


def test_an_older_file_of_the_same_row_is_not_taken_for_the_present_one(paper, media):
    with open(path_of(paper), "rb") as file:
        older = file.read()
    documents.store(paper, factories.pdf("second"))
    rewrite(paper, lambda _: older)

    with pytest.raises(SealedValueError, match="replaced"):
        documents.read(paper)


def test_under_another_key_it_does_not_open_and_under_both_it_does(face, settings):
    former = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = Fernet.generate_key().decode()
    with pytest.raises(SealedValueError, match="FIELD_ENCRYPTION_KEY"):
        documents.read(VerificationImage.objects.get())

    settings.FIELD_ENCRYPTION_KEY = [settings.FIELD_ENCRYPTION_KEY, former]
    assert documents.read(VerificationImage.objects.get()) == factories.png("face")


def test_a_file_that_is_lost_or_was_never_fetched_is_told_apart(face):
    os.unlink(path_of(face))
    with pytest.raises(DocumentError) as caught:
        documents.read(face)
    assert caught.value.code == "lost"
    assert not documents.is_stored(face)

    with pytest.raises(DocumentError) as caught:
        documents.read(factories.picture(face.verification, kind="document_back", content=b""))
    assert caught.value.code == "no_file"


# Thumbnails


def photo(size=(4000, 3000), grain=200, **options):
    """A JPEG of megabytes, with spots of `grain` pixels."""
    spots = (size[0] // grain, size[1] // grain)
    buffer = io.BytesIO()
    Image.frombytes("RGB", spots, os.urandom(spots[0] * spots[1] * 3)).resize(size).save(
        buffer, "JPEG", quality=95, **options
    )
    return buffer.getvalue()


def test_a_thumbnail_is_made_once_and_is_small(face, monkeypatch):
    documents.store(face, photo())
    assert face.size > 500_000
    documents.thumbnail(face)
    monkeypatch.setattr(pictures, "thumbnail", None)

    content = documents.thumbnail(VerificationImage.objects.get())

    assert len(content) <= 20_000
    with Image.open(io.BytesIO(content)) as small:
        assert (small.format, small.size) == ("WEBP", (480, 360))


def test_a_thumbnail_is_small_whatever_the_picture_is():
    content = pictures.thumbnail(photo(grain=4))

    assert len(content) <= 20_000
    with Image.open(io.BytesIO(content)) as small:
        assert small.width > 200


def test_a_thumbnail_stands_upright_and_says_nothing_of_place_and_time(face):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010F] = "Canary camera"
    exif.get_ifd(0x8825)[1] = "N"
    documents.store(face, photo((800, 600), exif=exif, icc_profile=b"canary profile"))

    content = documents.thumbnail(face)

    assert b"anary" in documents.read(face)
    assert b"anary" not in content
    with Image.open(io.BytesIO(content)) as small:
        assert small.size == (360, 480)
        assert not small.getexif()
        assert "icc_profile" not in small.info


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_of_any_kind_has_a_thumbnail(face, mode):
    buffer = io.BytesIO()
    Image.new(mode, (700, 300)).save(buffer, "PNG")

    documents.store(face, buffer.getvalue())

    with Image.open(io.BytesIO(documents.thumbnail(face))) as small:
        assert small.size == (480, 206)


@pytest.mark.parametrize("content", [bomb(8000, 5001), b"%PDF-1.4", factories.png()[:-40]])
def test_no_thumbnail_is_made_of_what_is_no_picture(content):
    with pytest.raises(DocumentError):
        pictures.thumbnail(content)


def test_a_thumbnail_that_is_lost_is_made_again(face, media):
    before = documents.thumbnail(face)
    os.unlink(f"{path_of(face)}.thumbnail")

    assert documents.thumbnail(face) == before
    assert os.path.exists(f"{path_of(face)}.thumbnail")
    os.unlink(f"{path_of(face)}.thumbnail")
    os.unlink(path_of(face))
    with pytest.raises(DocumentError, match="not in the storage"):
        documents.thumbnail(face)


@pytest.mark.parametrize("other", ["row", "former picture", "file"])
def test_another_thumbnail_does_not_open_in_its_place(face, other):
    if other == "row":
        row = factories.picture(face.verification, kind="document_front")
        documents.thumbnail(row)
        source = f"{path_of(row)}.thumbnail"
    else:
        documents.thumbnail(face)
        source = f"{path_of(face)}.thumbnail" if other == "former picture" else path_of(face)
    with open(source, "rb") as file:
        content = file.read()
    documents.store(face, factories.png("new"))
    with open(f"{path_of(face)}.thumbnail", "wb") as file:
        file.write(content)

    with pytest.raises(SealedValueError, match=f"thumbnail of row {face.pk}"):
        documents.thumbnail(face)


# Replacing and deleting


def test_the_former_file_goes_when_the_new_one_is_committed(face, media):
    with transaction.atomic():
        documents.thumbnail(face)
        documents.store(face, factories.png("new"))
        assert len(list(media.iterdir())) == 3

    assert len(list(media.iterdir())) == 1
    assert documents.read(VerificationImage.objects.get()) == factories.png("new")


def test_a_transaction_that_rolls_back_leaves_the_former_file_in_place(face):
    with transaction.atomic():
        documents.store(face, factories.png("new"))
        transaction.set_rollback(True)

    assert documents.read(VerificationImage.objects.get()) == factories.png("face")


def test_a_row_that_is_deleted_meanwhile_leaves_no_file_behind(face, media):
    VerificationImage.objects.all().delete()

    with pytest.raises(DocumentError) as caught:
        documents.store(face, factories.png("new"))

    assert caught.value.code == "gone"
    assert list(media.iterdir()) == []


def test_a_row_takes_its_file_along_whoever_deletes_it(face, paper, media):
    documents.thumbnail(face)
    face.verification.connection.user.delete()
    paper.entity.delete()

    assert list(media.iterdir()) == []


def test_a_deletion_that_rolls_back_keeps_the_file(face):
    with transaction.atomic():
        VerificationImage.objects.get().delete()
        transaction.set_rollback(True)

    assert documents.read(VerificationImage.objects.get())


# Fetching


@pytest.fixture
def peer_is_provider(settings):
    """Make a peer on loopback the provider: files are fetched over http from there only."""

    def be(peer):
        settings.EPROSPERA_BASE_URL = peer.url
        return f"{peer.url}/file?signature=s3cret"

    return be


def test_a_file_is_fetched_without_credentials_and_known_by_its_content(face, peer_is_provider):
    lie = response(200, factories.png("new", format_="JPEG"), content_type="text/html", Set_Cookie="a=b")
    with Peer(routes({"/file": lie})) as peer:
        url = peer_is_provider(peer)
        documents.fetch(face, url)
        documents.fetch(face, url)

    assert not {"authorization", "cookie"} & {name for request in peer.requests for name in request.headers}
    assert VerificationImage.objects.get().content_type == "image/jpeg"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (routes({}), "http_404"),
        (routes({"/file": response(302, b"", Location="http://127.0.0.1/other")}), "http_302"),
        (routes({"/file": response(500, b"")}), "http_500"),
        (routes({"/file": response(200, b"<html>")}), "wrong_type"),
        (routes({"/file": response(200, b"\xff" * 20_001)}), "too_large"),
        (huge_unannounced, "too_large"),
        (drips_body, "timeout"),
        (lambda talk: talk.request() and talk.reset(), "connection_lost"),
    ],
)
def test_a_file_that_cannot_be_had_leaves_the_one_there_is_and_a_code(
    face, media, settings, caplog, peer_is_provider, behaviour, code
):
    settings.EPROSPERA_MAX_FILE_BYTES = 20_000
    settings.EPROSPERA_DEADLINE = 0.5
    with Peer(behaviour) as peer, pytest.raises(DocumentError) as caught:
        documents.fetch(face, peer_is_provider(peer))

    assert caught.value.code == code
    row = VerificationImage.objects.get()
    assert (row.error, row.storage_name) == (code, face.storage_name)
    assert documents.read(row) == factories.png("face")
    assert len(list(media.iterdir())) == 1
    assert "s3cret" not in caplog.text + str(caught.value)

    with Peer(routes({"/file": response(200, factories.png("new"))})) as peer:
        settings.EPROSPERA_MAX_FILE_BYTES = 1_000_000
        documents.fetch(face, peer_is_provider(peer))
    assert VerificationImage.objects.get().error == ""


@pytest.mark.parametrize("base", ["https://portal.eprospera.com", "http://127.0.0.1:1"])
def test_only_a_provider_on_loopback_may_point_at_loopback(face, settings, base):
    with Peer(routes({"/file": response(200, factories.png("inner"))})) as peer:
        settings.EPROSPERA_BASE_URL = base
        if base.startswith("https:"):
            with pytest.raises(DocumentError):
                documents.fetch(face, f"{peer.url}/file")
            assert peer.connections == 0
        else:
            documents.fetch(face, f"{peer.url}/file")


# What a browser gets


def test_a_picture_is_shown_and_nothing_in_it_can_run(face):
    answer = documents.response(face, filename="face")

    assert answer.content == factories.png("face")
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Length"] == str(len(answer.content))
    assert answer["Content-Disposition"] == 'inline; filename="face.png"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private, no-store"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Certificate of Organization", 'attachment; filename="Certificate of Organization.pdf"'),
        ("../../etc/passwd", 'attachment; filename="etc passwd.pdf"'),
        ('a"; filename="evil.exe', 'attachment; filename="a filename evil exe.pdf"'),
        ("line\r\nSet-Cookie: a=b", 'attachment; filename="line Set-Cookie a b.pdf"'),
        ("Acta de constitución", "attachment; filename*=utf-8''Acta%20de%20constituci%C3%B3n.pdf"),
        ("", 'attachment; filename="document.pdf"'),
        ("x" * 500, f'attachment; filename="{"x" * 100}.pdf"'),
    ],
)
def test_a_document_is_a_download_with_a_harmless_name(paper, name, expected):
    assert documents.response(paper, filename=name)["Content-Disposition"] == expected


def test_the_column_of_the_content_type_cannot_make_a_page_of_a_file(paper):
    EntityDocument.objects.update(content_type="text/html")

    assert documents.response(EntityDocument.objects.get(), filename="x")["Content-Type"] == "application/pdf"
