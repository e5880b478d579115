"""System checks, registered when `apps.ready` imports this package.

`manage.py check` reports settings that are missing or wrong, and how to fix them. `--deploy` adds what matters in
production, and `--deploy --database default` also looks for rows that need a key that is no longer configured.
"""

from __future__ import annotations

from django_eprospera.checks.clock import check_clock
from django_eprospera.checks.csp import check_form_action
from django_eprospera.checks.database import check_connections, check_keys_in_use, check_reviewers, check_signing
from django_eprospera.checks.deployment import check_deployment
from django_eprospera.checks.gates import check_gates
from django_eprospera.checks.site import check_settings
from django_eprospera.checks.table import CHECKS

__all__ = [
    "CHECKS",
    "check_clock",
    "check_connections",
    "check_deployment",
    "check_form_action",
    "check_gates",
    "check_keys_in_use",
    "check_reviewers",
    "check_settings",
    "check_signing",
]
