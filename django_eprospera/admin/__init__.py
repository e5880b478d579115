"""The pages for staff, on Django's own admin. Works under a strict Content-Security-Policy and without JavaScript."""

from __future__ import annotations

from django_eprospera.admin import companies, connections, people, review, trail

__all__ = ["companies", "connections", "people", "review", "trail"]
