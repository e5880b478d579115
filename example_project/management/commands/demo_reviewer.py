"""Makes the demo's reviewer: may see and decide KYC reviews, and nothing more. Not for a real site."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """`manage.py demo_reviewer NAME`, with the password in the environment: arguments can be read by other users."""

    help = "Makes (or mends) a reviewer whose password is in the environment variable REVIEWER_PASSWORD."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the user name."""
        parser.add_argument("username")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make the user, set the password, give the permissions."""
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
            permissions.filter(codename="decide_review"),
        )
        reviewer.user_permissions.set(may_see | may_decide)
        self.stdout.write(f"{options['username']} can review.")
