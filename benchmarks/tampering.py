"""How many single-value edits of audit entries, decisions and reviews does `eprospera_audit --verify` find?

    python -m benchmarks tampering [--edits 1000] [--seed 7]

Syncs a persona of the sandbox, decides its reviews several times, then changes one value at a time by SQL: of a random row and
column, to NULL, to the value of another row, or to another value. An edit counts when it changes the row. What the database
refuses is counted apart.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--edits", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from django.conf import settings

    settings.MEDIA_ROOT = tempfile.mkdtemp(prefix="eprospera-tampering-")
    try:
        return attack(settings, options)
    finally:
        shutil.rmtree(settings.MEDIA_ROOT)


def attack(settings, options):
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from django_eprospera.audit import verify
    from tests import test_tampering
    from tests.sandbox_process import SandboxProcess

    call_command("migrate", verbosity=0)
    with SandboxProcess() as sandbox:
        settings.EPROSPERA_BASE_URL = sandbox.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY = sandbox.client_id
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = sandbox.client_secret
        test_tampering.make_history(sandbox)
    report = verify()
    assert report.ok, report.problems
    print(f"{connection.vendor}: {report.entries} entries, seed {options.seed}")
    test_tampering.drop_triggers()
    counts, missed, began = Counter(), [], time.monotonic()
    edits = test_tampering.edits(random.Random(options.seed))
    while counts["found"] + counts["missed"] < options.edits:
        edit = next(edits)
        outcome = test_tampering.outcome_of(edit)
        counts[outcome] += 1
        if outcome == "missed":
            missed.append(edit)
    took = time.monotonic() - began
    print(
        f"Found {counts['found']:,} of {options.edits:,} edits in {took:.0f} s; refused by the database: {counts['refused']:,}."
    )
    for edit in missed:
        print(f"  missed: {edit}")
    return int(bool(missed or not verify().ok))


if __name__ == "__main__":
    sys.exit(main())
