"""Entry point of `python -m django_eprospera.sandbox`."""

from __future__ import annotations

import sys

from django_eprospera.sandbox.cli import main

sys.exit(main())
