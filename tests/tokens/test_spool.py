"""The spool keeps what it can; where it cannot, a refresh goes on without it and the log gives the reason."""

import logging
import os
import resource
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.utils import timezone

from django_eprospera.tokens import access_token, spool
from tests.peers import response
from tests.tokens.conftest import works

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"access_token": "at-canary", "refresh_token": "rt_canary", "token_type": "Bearer", "expires_in": 600}
ANSWER = response(200, BODY)
REASONS = {0: "File too large", 4096: "mmap length is greater than file size"}


def test_the_tokens_of_an_answer_end_as_long_after_it_was_asked_for_as_the_provider_says(connect):
    connection, asked_at = connect(), timezone.now() - timedelta(days=3)
    with spool.ready(connection) as keep:
        keep(asked_at, ANSWER)
    found = spool.find(connection)
    assert (found.access_token, found.refresh_token, found.asked_at) == ("at-canary", "rt_canary", asked_at)
    assert found.expires_at == asked_at + timedelta(seconds=600)


@pytest.mark.parametrize("size", [0, 20, len(ANSWER) - 30, len(ANSWER) - 1])
def test_an_answer_that_did_not_arrive_whole_is_not_found(connect, size):
    connection = connect()
    with spool.ready(connection) as keep:
        keep(timezone.now(), ANSWER[:size])
    assert spool.find(connection) is None


def test_a_torn_or_foreign_file_in_the_spool_is_not_found(provider, connect, settings, tmp_path):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    connection, other = connect(refresh_sent_at=timezone.now()), connect()
    spool.find(other)  # makes the directory
    file = settings.EPROSPERA_SPOOL / f"{connection.pk}.0"
    with spool.ready(other) as keep:
        keep(timezone.now(), ANSWER)
    for content in (b"", b"EPB1torn", (settings.EPROSPERA_SPOOL / f"{other.pk}.0").read_bytes()):
        file.write_bytes(content)
        assert spool.find(connection) is None
    assert works(provider, access_token(connection))


def test_old_files_are_swept_from_the_spool(provider, connect, settings, tmp_path):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    old, new = connect(), connect()
    for connection in (old, new):
        with spool.ready(connection) as keep:
            keep(timezone.now(), ANSWER)
    os.utime(settings.EPROSPERA_SPOOL / f"{old.pk}.0", (0, 0))
    foreign = tmp_path / "foreign"
    foreign.touch()
    os.utime(foreign, (0, 0))
    link = settings.EPROSPERA_SPOOL / "link"
    link.symlink_to(foreign)
    assert spool.sweep() == 1
    assert link.is_symlink()
    assert spool.find(old) is None
    assert spool.find(new) is not None


def test_a_spool_that_others_can_read_is_not_used(provider, connect, settings, tmp_path):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    settings.EPROSPERA_SPOOL.mkdir(mode=0o755)
    connection = connect()
    assert works(provider, access_token(connection))
    assert not list(settings.EPROSPERA_SPOOL.iterdir())


def test_without_a_spool_nothing_is_found_and_nothing_is_swept(connect, settings):
    settings.EPROSPERA_SPOOL = None
    assert spool.find(connect()) is None
    assert spool.sweep() == 0


def test_a_spool_that_cannot_be_made_stops_no_refresh(provider, connect, settings, tmp_path, caplog):
    (tmp_path / "file").touch()
    settings.EPROSPERA_SPOOL = tmp_path / "file" / "spool"
    assert works(provider, access_token(connect()))
    assert "file/spool cannot be used: Not a directory" in caplog.text


def test_a_link_in_the_spool_is_not_followed_and_stops_no_refresh(provider, connect, settings, tmp_path):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    settings.EPROSPERA_SPOOL.mkdir(mode=0o700)
    connection = connect()
    (settings.EPROSPERA_SPOOL / f"{connection.pk}.0").symlink_to(tmp_path / "elsewhere")
    assert works(provider, access_token(connection))
    assert not (tmp_path / "elsewhere").exists()


def test_a_holder_that_outlived_its_lease_and_its_successor_each_have_a_file(connect):
    connection = connect()
    with spool.ready(connection) as late:
        with spool.ready(connection) as keep:
            late(timezone.now(), ANSWER)
            assert spool.find(connection) is None
            keep(timezone.now(), ANSWER)
        assert spool.find(connection) is not None


@pytest.mark.parametrize("size", [0, 4096])
def test_a_spool_that_is_full_raises_nothing_and_logs_no_token(connect, settings, tmp_path, caplog, size):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    connection = connect()
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most[1]))  # the kernel refuses the write, as a full disk does
    try:
        with spool.ready(connection) as keep:
            keep(timezone.now(), ANSWER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert spool.find(connection) is None
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.getMessage() == f"EPROSPERA_SPOOL {settings.EPROSPERA_SPOOL} cannot be written to: {REASONS[size]}"


def test_a_directory_in_the_place_of_a_file_stops_no_refresh(provider, connect, settings, tmp_path, caplog):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    connection = connect()
    blocked = settings.EPROSPERA_SPOOL / f"{connection.pk}.0"
    blocked.mkdir(mode=0o700, parents=True)
    settings.EPROSPERA_SPOOL.chmod(0o700)
    assert works(provider, access_token(connection))
    assert f"{blocked} cannot be deleted: Is a directory" in caplog.text
    assert "spool cannot be written to: File exists" in caplog.text


@contextmanager
def forbidden(directory):
    """Let the kernel refuse this process the directory. It refuses root nothing, so root becomes nobody."""
    user = os.geteuid()
    directory.chmod(0)
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)
        directory.chmod(0o700)


def test_a_spool_that_became_forbidden_is_neither_swept_nor_an_error(connect, settings, caplog):
    with TemporaryDirectory() as parent:
        Path(parent).chmod(0o711)
        settings.EPROSPERA_SPOOL = Path(parent) / "spool"
        connection = connect()
        with spool.ready(connection) as keep:
            keep(timezone.now(), ANSWER)
        with forbidden(settings.EPROSPERA_SPOOL):
            spool.drop(connection)
            assert spool.sweep() == 0
        assert spool.find(connection) is not None
    assert f"{connection.pk}.0 cannot be deleted: Permission denied" in caplog.text
    assert "spool cannot be listed: Permission denied" in caplog.text
