"""The spool keeps what it can; where it cannot, a refresh goes on without it and the log gives the reason."""

import logging
import os
import resource
from datetime import timedelta

import pytest
from django.utils import timezone

from django_eprospera.provider.grants import Tokens
from django_eprospera.tokens import access_token, spool
from tests.tokens.conftest import works

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_torn_or_foreign_file_in_the_spool_is_not_found(provider, connect, settings, tmp_path):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    connection, other = connect(refresh_sent_at=timezone.now()), connect()
    spool.find(other)  # makes the directory
    file = settings.EPROSPERA_SPOOL / f"{connection.pk}.0"
    with spool.ready(other) as keep:
        keep(Tokens("forged", "rt_forged", None, None, timezone.now(), timezone.now()))
    for content in (b"", b"1.00000000.torn", (settings.EPROSPERA_SPOOL / f"{other.pk}.0").read_bytes()):
        file.write_bytes(content)
        assert spool.find(connection) is None
    assert works(provider, access_token(connection))


def test_old_files_are_swept_from_the_spool(provider, connect, settings, tmp_path):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    old, new = connect(), connect()
    for connection in (old, new):
        with spool.ready(connection) as keep:
            keep(Tokens("at", "rt", None, None, timezone.now(), timezone.now()))
    os.utime(settings.EPROSPERA_SPOOL / f"{old.pk}.0", (0, 0))
    assert spool.sweep() == 1
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


def test_a_link_in_the_spool_is_not_followed_and_stops_no_refresh(provider, connect, settings, tmp_path, caplog):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    settings.EPROSPERA_SPOOL.mkdir(mode=0o700)
    connection = connect()
    (settings.EPROSPERA_SPOOL / f"{connection.pk}.0").symlink_to(tmp_path / "elsewhere")
    assert works(provider, access_token(connection))
    assert not (tmp_path / "elsewhere").exists()
    assert "spool cannot be written to: Too many levels of symbolic links" in caplog.text


def test_a_spool_that_is_full_raises_nothing_and_logs_no_token(connect, settings, tmp_path, caplog):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    connection, now = connect(), timezone.now()
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with spool.ready(connection) as keep:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, most[1]))  # the kernel refuses the write, as a full disk does
        try:
            keep(Tokens("at-canary", "rt_canary", None, None, now, now + timedelta(hours=1)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert spool.find(connection) is None
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.getMessage() == f"connection {connection.pk}: nothing written to the spool: File too large"
