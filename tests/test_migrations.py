"""The migrations say what the models say."""

import pytest
from django.core.management import call_command
from django.db import connection


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "django_eprospera", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_the_migrations_go_back_and_forth():
    call_command("migrate", "django_eprospera", "zero", verbosity=0)
    assert "django_eprospera_connection" not in connection.introspection.table_names()
    call_command("migrate", "django_eprospera", verbosity=0)
    assert "django_eprospera_connection" in connection.introspection.table_names()
    call_command("eprospera_audit", "--drop-triggers")  # as `conftest.django_db_setup` does, for the end of this test
