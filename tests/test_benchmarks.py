"""`make bench` works, at small size. What it measures decides nothing here."""

import os
import subprocess
import sys

import pytest
from django.db import connection

from tests.demo_process import ROOT


@pytest.mark.thorough
@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="Backends of PostgreSQL are measured.")
def test_the_harness_prints_a_table_and_leaves_no_database():
    prefix = f"{connection.settings_dict['NAME']}_bench_"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "due", "prune", "--quick", "--sizes", "1000"],
        cwd=ROOT, env=os.environ | {"BENCH_PREFIX": prefix}, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| Selecting 100 of what is due, 1,000 connections" in done.stdout
    assert "| Prune with nothing to erase, 1,000 people" in done.stdout
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        assert cursor.fetchall() == []
