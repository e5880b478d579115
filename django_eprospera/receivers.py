"""Who listens to which signal? The one place where lower rooms are heard by higher ones. Imported by `apps.ready`."""

from __future__ import annotations

__all__: list[str] = []
