"""App config of the sandbox. Installed by the sandbox's own settings only, never by a site."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["SandboxConfig"]


class SandboxConfig(AppConfig):
    """App config with the label `eprospera_sandbox`, which keeps its table names apart from the package's."""

    name = "django_eprospera.sandbox"
    label = "eprospera_sandbox"
    default_auto_field = "django.db.models.BigAutoField"
