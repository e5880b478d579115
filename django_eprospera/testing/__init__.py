"""Test kit for sites: a sandbox, sign-ins without a browser, rows without a network (docs/testing.md).

With pytest, fixtures of the same names do what the attributes of `EprosperaTestMixin` do with unittest.
"""

from __future__ import annotations

from django_eprospera.testing.cases import EprosperaTestMixin
from django_eprospera.testing.clock import Clock
from django_eprospera.testing.errors import ProviderReached, SignInFailed
from django_eprospera.testing.sandbox import Sandbox

__all__ = ["Clock", "EprosperaTestMixin", "ProviderReached", "Sandbox", "SignInFailed"]
