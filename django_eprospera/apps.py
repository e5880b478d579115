"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

__all__ = ["EprosperaConfig"]


class EprosperaConfig(AppConfig):
    """`django_eprospera` in INSTALLED_APPS."""

    name = "django_eprospera"
    verbose_name = _("e-Próspera")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers of signals."""
        from django_eprospera import receivers  # noqa: F401 - models are loaded only now
