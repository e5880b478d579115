"""The sandbox as a Django app. Installed by the sandbox's own settings only, never by a site."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["SandboxConfig"]


class SandboxConfig(AppConfig):
    """Label `eprospera_sandbox`, so that its tables can never be taken for the package's."""

    name = "django_eprospera.sandbox"
    label = "eprospera_sandbox"
    default_auto_field = "django.db.models.BigAutoField"
