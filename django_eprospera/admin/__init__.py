"""Pages for staff in Django's admin. They work with a strict Content-Security-Policy and without JavaScript."""

from __future__ import annotations

from django_eprospera.admin import companies, connections, people, review, trail

__all__ = ["companies", "connections", "people", "review", "trail"]
