"""Files that are no case files, or were made to harm whoever verifies them."""

import io
import random
import zipfile
import zlib

import pytest

from django_eprospera.verify import Unusable, local_header, main, read_keys
from tests.casefile.steps import checked, members, public_key, resigned, zipped

pytestmark = pytest.mark.django_db


def test_a_file_that_is_cut_short_is_found_wherever_it_ends(exported, tmp_path, keys):
    chance = random.Random(3)
    for length in [*(chance.randrange(4, len(exported)) for _ in range(60)), len(exported) - 1]:
        assert checked(tmp_path, exported[:length], keys).problems


def bomb(_files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"0" * 100_000_000)
    return buffer.getvalue()


def climbing(files):
    content = zipped({"files/aaaaaa.txt": b"x", **files})
    return content.replace(b"files/aaaaaa.txt", b"../../../etc.txt")


def without(files, name):
    return {each: text for each, text in files.items() if each != name}


def nested(files):
    return zipped({**files, "decisions.json": b"[" * 1_000_000})


def infinite(files):
    return zipped({**files, "audit.json": files["audit.json"].replace(b'"position":', b'"position":1e999,"x":', 1)})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (bomb, "or manifest.json is compressed"),
        (climbing, "the ZIP is damaged after the beginning"),
        (nested, "decisions.json was changed"),
        (infinite, "audit.json has no list of entries"),
        (lambda files: zipped(files) + b"x", "changed after manifest.sig"),
        (lambda files: zipped({**files, "files/more.pdf": b"x"}), "files/more.pdf was added"),
        (lambda files: zipped(without(files, "files/face.png")), "files/face.png was left out"),
        (lambda files: zipped(without(files, "manifest.sig")), "manifest.sig is missing"),
        (lambda files: zipped({**files, "audit.json": b" " * 17_000_000}), "audit.json is larger"),
        (lambda files: zipped(files)[: -22 - 1] + zipped(files)[-22:], "cut short or changed"),
        (lambda files: local_header("review.json", 0, 2**32 - 1) + b"x", "the file ends within review.json"),
        (lambda files: zipped({f"files/{number}.txt": b"" for number in range(5_001)}), "damaged after files/4999.txt"),
    ],
)  # fmt: skip
def test_hostile_files_are_refused_with_what_is_wrong(exported, tmp_path, keys, make, said):
    problems = checked(tmp_path, make(members(exported)), keys).problems
    assert any(said in problem for problem in problems), problems


def test_a_file_that_is_there_twice_is_refused(exported, tmp_path, keys):
    files = members(exported)
    once = zipped(files)
    header = local_header("files/face.png", zlib.crc32(files["files/face.png"]), len(files["files/face.png"]))
    twice = header + files["files/face.png"] + once
    assert "files/face.png is there twice" in checked(tmp_path, twice, keys).problems


def test_exit_codes_and_what_is_printed(exported, tmp_path, capsys):
    path = tmp_path / "case.zip"
    path.write_bytes(exported)
    key = public_key()
    assert main([str(path), "--key", key]) == 0
    path.write_bytes(exported[:-1])
    assert main([str(path), "--key", key]) == 1
    assert "THE CASE FILE DOES NOT VERIFY." in capsys.readouterr().out
    for name, content, given in (
        ("case.zip", b"%PDF-", key), ("absent.zip", None, key), ("case.zip", exported, "nonsense"),
        ("case.zip", exported, str(path)), (".", None, key),
    ):  # fmt: skip
        if content is not None:
            path.write_bytes(content)
        assert main([str(tmp_path / name), "--key", given]) == 2
        assert "Cannot be verified: " in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([str(path)])
    assert left.value.code == 2


def test_what_a_terminal_would_obey_is_not_printed(exported, tmp_path, capsys):
    def change(manifest):
        manifest["purpose"] = "\x1b[2J\u202eaudit"

    path = tmp_path / "case.zip"
    path.write_bytes(resigned(exported, "manifest.json", change))
    main([str(path), "--key", public_key()])
    assert not set(capsys.readouterr().out) & {"\x1b", "\u202e"}


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(key="another"),
        lambda manifest: manifest["subjects"].update({manifest["review"]: 2}),
        lambda manifest: manifest["subjects"].clear(),
        lambda manifest: manifest.update(tree={"size": "5", "root": "0" * 64}),
        lambda manifest: manifest.update(subjects=[]),
        lambda manifest: manifest.update(files={"review.json": {"sha256": "x"}}),
        lambda manifest: manifest["tree"].update(size=manifest["tree"]["size"] + 1),
        lambda manifest: manifest["subjects"].update({"other:1": 3}),
        lambda manifest: manifest.update(review="django_eprospera.review:other"),
    ],
)
def test_a_manifest_that_contradicts_itself_or_the_log_is_found(exported, tmp_path, change):
    assert checked(tmp_path, resigned(exported, "manifest.json", change)).problems


def test_another_format_cannot_be_verified(exported, tmp_path, capsys):
    path = tmp_path / "case.zip"
    path.write_bytes(resigned(exported, "manifest.json", lambda manifest: manifest.update(format="case file 2")))
    assert main([str(path), "--key", public_key()]) == 2
    assert "not in the format of this version" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{key}", '{{"kty": "OKP", "crv": "Ed25519", "x": "{key}"}}', "  {key}=\n"])
def test_a_key_may_be_text_or_a_json_web_key(tmp_path, text):
    (tmp_path / "key").write_text(text.format(key=public_key()))
    assert read_keys(str(tmp_path / "key")) == read_keys(public_key())


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"keys": 5}', '{"keys": [{"kty": "RSA"}]}', '{"keys": [{"kty": "OKP"}, 7]}', "", "x" * 99]
)
def test_a_file_without_a_key_is_no_key(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(Unusable):
        read_keys(str(tmp_path / "key"))
