"""Is the site set up so that this can work, and safely? Django's system checks. Imported by `apps.ready`.

`manage.py check` reports every setting that is missing or wrong, with the mend; `--deploy` adds what matters in production,
and `--deploy --database default` looks into the tables for what hangs on a key that is not there any more.
"""

from __future__ import annotations

from django_eprospera.checks.deployment import check_deployment, check_keys_in_use
from django_eprospera.checks.site import check_settings
from django_eprospera.checks.table import CHECKS

__all__ = ["CHECKS", "check_deployment", "check_keys_in_use", "check_settings"]
