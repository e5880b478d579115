"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _

__all__ = ["EprosperaConfig"]


class EprosperaConfig(AppConfig):
    """`django_eprospera` in INSTALLED_APPS."""

    name = "django_eprospera"
    verbose_name = _("e-Próspera")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and connect the receivers of signals."""
        # Imported here, because models are loaded only now.
        from django_eprospera import checks  # noqa: F401

        if apps.is_installed("social_django"):  # else eprospera.E005 says what to do
            from django_eprospera import receivers  # noqa: F401
