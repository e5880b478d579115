"""Sealed values, sealed files and blind indexes, without Django."""

import base64
import io
import json
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_eprospera.crypto import (
    BadKey,
    DoesNotOpen,
    Keyring,
    Moved,
    Secret,
    file_key_id,
    key_id_of,
    looks_sealed,
    prefix_of,
)

OLD, NEW, OTHER = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (201, 202, 203))
RING = Keyring([OLD])
OWNER = b"person.name\x001"


@given(st.binary(), st.binary())
@settings(deadline=None)
def test_what_was_sealed_opens_for_its_owner(owner, value):
    assert RING.open(owner, RING.seal(owner, value)) == value


@given(st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=6))
@example(b"a", b"a\0b", b"\0c")
@settings(deadline=None)
def test_it_opens_for_no_other_owner_however_owner_and_value_are_cut(owner, other, value):
    sealed = RING.seal(owner, value)
    if other == owner:
        return
    with pytest.raises(Moved):
        RING.open(other, sealed)


def test_equal_values_are_sealed_to_different_texts():
    assert RING.seal(OWNER, b"same") != RING.seal(OWNER, b"same")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "1.",
        "1..",
        "1.abcd",
        "2.00000000.gAAAA",
        "1.Ana Mari.x",
        "1.00000000.",
        "gAAAAA",
        "1.ABCDEF00.gAAA",
        "\0",
    ],
)
def test_what_was_never_sealed_does_not_open_and_is_not_quoted(text):
    with pytest.raises(DoesNotOpen) as caught:
        RING.open(OWNER, text)
    assert "Ana" not in str(caught.value)


def test_a_key_that_is_not_held_is_named_by_its_id():
    sealed = Keyring([OTHER]).seal(OWNER, b"x")
    with pytest.raises(DoesNotOpen, match=key_id_of(sealed)):
        RING.open(OWNER, sealed)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_one_changed_character_anywhere_keeps_it_shut(data):
    sealed = RING.seal(OWNER, b"a value of some length")
    place = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != sealed[place]))
    changed = sealed[:place] + other + sealed[place + 1 :]
    if changed.rstrip("=") == sealed.rstrip("=") or _same_bytes(changed, sealed):
        return  # another spelling of the same bytes
    with pytest.raises(DoesNotOpen):
        RING.open(OWNER, changed)


def _same_bytes(one, other):
    if not one.startswith(other[:11]):
        return False
    try:
        return base64.urlsafe_b64decode(one[11:]) == base64.urlsafe_b64decode(other[11:])
    except ValueError:
        return False


def test_the_first_key_seals_and_every_key_opens():
    old = RING.seal(OWNER, b"value")
    both = Keyring([NEW, OLD])
    assert both.open(OWNER, old) == b"value"
    assert key_id_of(both.seal(OWNER, b"value")) == both.current == Keyring([NEW]).current
    resealed = both.reseal(OWNER, old)
    assert Keyring([NEW]).open(OWNER, resealed) == b"value"
    assert both.key_ids == (Keyring([NEW]).current, RING.current)


def test_resealing_checks_the_owner():
    with pytest.raises(Moved):
        RING.reseal(b"other", RING.seal(OWNER, b"value"))


@pytest.mark.parametrize(
    "bad", ["", "x", OLD[:-2], OLD + "x", OLD + OLD, "é" * 44, "!" * 44, OLD[:20] + "\n" + OLD[20:]]
)
def test_a_key_that_is_no_fernet_key_is_named_by_its_position_and_never_shown(bad):
    with pytest.raises(BadKey) as caught:
        Keyring([NEW, bad])
    assert caught.value.position == 2
    assert NEW not in str(caught.value)
    assert not bad or bad not in str(caught.value)


def test_no_key_at_all_is_an_error():
    with pytest.raises(ValueError, match="no key"):
        Keyring([])


def test_nothing_that_holds_a_key_or_a_secret_shows_it():
    ring = Keyring([Secret(NEW), OLD])
    shown = repr(ring) + repr(vars(ring)) + str(ring)
    for key in (NEW, OLD):
        assert key not in shown
        assert repr(base64.urlsafe_b64decode(key))[2:-1] not in shown
    assert repr(Secret("token")) == "<secret>"
    assert "token" not in repr({"a": [Secret("token")]})
    assert f"{Secret('token')}" == "token"
    assert json.dumps(Secret("token")) == '"token"'


def test_a_sealed_value_and_an_index_entry_are_told_from_text():
    sealed = RING.seal(OWNER, b"x")
    assert looks_sealed(sealed)
    assert sealed.startswith(prefix_of(RING.current))
    assert looks_sealed(RING.index("person.rpn", "1"))
    assert not looks_sealed("1.5.2024")
    assert not looks_sealed(sealed + "\n")
    assert key_id_of("anything else") == ""


# Blind indexes


def test_equal_texts_meet_in_the_index_and_only_under_the_same_label():
    assert RING.index("person.rpn", "42") == RING.index("person.rpn", "42")
    assert RING.index("person.rpn", "42") != RING.index("entity.rpn", "42")
    assert RING.index("person.rpn", "42") != RING.index("person.rpn", "43")
    assert len(RING.index("person.rpn", "42")) <= 64


def test_an_index_made_before_a_rotation_or_before_a_key_of_its_own_is_still_found():
    before = RING.index("person.rpn", "42")
    assert before in Keyring([NEW, OLD]).indexes("person.rpn", "42")
    own = Keyring([NEW, OLD], [OTHER])
    assert before in own.indexes("person.rpn", "42")
    assert key_id_of(own.index("person.rpn", "42")) == own.current_index == Keyring([OTHER]).current
    assert before not in Keyring([NEW]).indexes("person.rpn", "42")


def test_a_key_has_one_id_whatever_it_is_used_for():
    assert RING.key_ids == RING.index_key_ids


def test_an_index_key_is_checked_like_any_other():
    with pytest.raises(BadKey):
        Keyring([NEW], ["password"])


def test_text_that_is_no_unicode_can_be_looked_for():
    assert RING.indexes("person.rpn", "\ud800")


# Files


def seal_file(content, owner=OWNER, ring=RING):
    target = io.BytesIO()
    ring.seal_file(owner, io.BytesIO(content), target)
    return target.getvalue()


def open_file(sealed, owner=OWNER, ring=RING):
    return b"".join(ring.open_file(owner, io.BytesIO(sealed)))


CHUNK = 65_536
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_comes_back_whole(size):
    content = os.urandom(size)
    sealed = seal_file(content)
    assert open_file(sealed) == content
    assert len(sealed) <= size + 24 + 16 * (size // CHUNK + 1)


class Dribble(io.BytesIO):
    """A storage that hands out less than it was asked for."""

    most = 1_000

    def read(self, size=-1):
        return super().read(min(size, self.most) if size > 0 else size)


class AllButOne(Dribble):
    """Hands out a chunk but for its last byte."""

    most = CHUNK - 1


def test_a_source_that_hands_out_little_at_a_time_makes_no_difference():
    content = os.urandom(2 * CHUNK + 5)
    target = io.BytesIO()
    RING.seal_file(OWNER, Dribble(content), target)
    assert open_file(target.getvalue()) == content
    assert b"".join(RING.open_file(OWNER, Dribble(target.getvalue()))) == content


def test_chunks_are_64_kib_whatever_a_source_hands_out_so_that_no_file_is_in_memory_whole():
    content = os.urandom(2 * CHUNK + 5)
    for source in io.BytesIO(content), Dribble(content), AllButOne(content):
        target = io.BytesIO()
        RING.seal_file(OWNER, source, target)
        sealed = target.getvalue()
        assert len(sealed) == 4 + 4 + 16 + len(content) + 3 * 16  # magic, key id, salt, and a tag for each chunk
        for opened in io.BytesIO(sealed), Dribble(sealed), AllButOne(sealed):
            assert [len(chunk) for chunk in RING.open_file(OWNER, opened)] == [CHUNK, CHUNK, 5]


def test_a_file_opens_for_no_other_owner():
    with pytest.raises(DoesNotOpen):
        open_file(seal_file(b"content"), b"file.other\x001")


HEAD, SEALED_CHUNK = 24, CHUNK + 16


def chunks_of(sealed):
    body = sealed[HEAD:]
    return sealed[:HEAD], [body[start : start + SEALED_CHUNK] for start in range(0, len(body), SEALED_CHUNK)]


def damaged_files():
    sealed, other = seal_file(os.urandom(3 * CHUNK + 9)), seal_file(os.urandom(3 * CHUNK + 9))
    head, chunks = chunks_of(sealed)
    _, foreign = chunks_of(other)
    yield "cut in the middle of a chunk", sealed[: HEAD + CHUNK]
    yield "cut between two chunks", head + b"".join(chunks[:2])
    yield "cut to its head", head
    yield "cut inside its head", sealed[:20]
    yield "cut inside its magic", sealed[:3]
    yield "empty", b""
    yield "two chunks swapped", head + chunks[1] + chunks[0] + b"".join(chunks[2:])
    yield "a chunk left out", head + chunks[0] + b"".join(chunks[2:])
    yield "a chunk twice", head + chunks[0] + chunks[0] + b"".join(chunks[1:])
    yield "a chunk of another file", head + foreign[0] + b"".join(chunks[1:])
    yield "something appended", sealed + b"x"
    yield "its last chunk appended again", sealed + chunks[-1]
    yield "another salt", sealed[:8] + bytes(16) + sealed[24:]
    yield "another magic", b"EPS2" + sealed[4:]
    yield "plain", b"\x89PNG and so on, in plain"
    for place in (HEAD, HEAD + CHUNK + 3, len(sealed) - 1):
        yield f"a bit changed at {place}", sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]


@pytest.mark.parametrize(
    ("what", "sealed"), list(damaged_files()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_damaged_file_does_not_open(what, sealed):
    with pytest.raises(DoesNotOpen):
        open_file(sealed)


def test_a_file_names_its_key_and_opens_after_a_rotation():
    sealed = seal_file(b"content")
    assert file_key_id(io.BytesIO(sealed)) == RING.current
    assert open_file(sealed, ring=Keyring([NEW, OLD])) == b"content"
    with pytest.raises(DoesNotOpen, match=RING.current):
        open_file(sealed, ring=Keyring([NEW]))


# Sealed bytes


@given(st.binary(), st.binary())
@settings(deadline=None)
def test_sealed_bytes_open_for_their_owner_and_under_a_later_key(owner, value):
    seal = RING.sealer(owner)
    first, second = seal(value), seal(value)
    assert first != second
    assert Keyring([NEW, OLD]).open_bytes(owner, first) == RING.open_bytes(owner, second) == value


@pytest.mark.parametrize("change", ["cut", "empty", "key", "salt", "nonce", "end"])
def test_sealed_bytes_that_were_changed_do_not_open(change):
    sealed = bytearray(RING.sealer(OWNER)(b"value"))
    if change in ("cut", "empty"):
        del sealed[20 if change == "cut" else 0 :]
    else:
        sealed[{"key": 5, "salt": 9, "nonce": 26, "end": -1}[change]] ^= 1
    with pytest.raises(DoesNotOpen):
        RING.open_bytes(OWNER, bytes(sealed))


def test_sealed_bytes_open_for_no_other_owner_and_not_as_a_file():
    sealed = RING.sealer(OWNER)(b"value")
    with pytest.raises(DoesNotOpen):
        RING.open_bytes(b"other", sealed)
    with pytest.raises(DoesNotOpen, match="not a sealed file"):
        open_file(sealed)
