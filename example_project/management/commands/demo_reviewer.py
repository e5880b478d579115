"""Create the demo's reviewer, who may see and decide KYC reviews and nothing else. Not for real sites."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """`manage.py demo_reviewer NAME`. The password is in the environment, since other users can read arguments."""

    help = "Create or update a reviewer whose password is in the environment variable REVIEWER_PASSWORD."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the user name."""
        parser.add_argument("username")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Create or update the user. Raises CommandError without a password."""
        password = os.environ.get("REVIEWER_PASSWORD", "")
        if not password:
            raise CommandError("Set REVIEWER_PASSWORD in the environment.")
        reviewer, _ = get_user_model().objects.get_or_create(username=options["username"])
        reviewer.is_staff = True
        if not reviewer.check_password(password):
            reviewer.set_password(password)
        reviewer.save()
        permissions = Permission.objects.filter(content_type__app_label="django_eprospera")
        may_see, may_decide = (
            permissions.filter(codename__startswith="view_"),
            permissions.filter(codename__in=["decide_review", "export_review"]),
        )
        reviewer.user_permissions.set(may_see | may_decide)
        self.stdout.write(f"{options['username']} can review.")
