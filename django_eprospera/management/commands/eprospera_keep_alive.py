"""`manage.py eprospera_keep_alive`: revoke tokens of ended connections, renew unused grants before they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_eprospera import tokens
from django_eprospera.tokens import replaced

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Command"]

# Revocations take no longer than this, each of the two kinds.
_SECONDS = 600.0


class Command(BaseCommand):
    """Command for a daily timer. Fails if a grant could not be renewed."""

    help = (
        "Revokes the tokens of ended connections and of earlier sign-ins at e-Próspera, and renews unused grants whose refresh "
        "token ends within EPROSPERA_KEEP_ALIVE (nothing is renewed where that is None). For a daily timer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--limit", type=int, default=1000, help="Revoke and renew at most this many each (default: 1000)."
        )

    def handle(self, *_args: Any, limit: int, **_options: Any) -> None:
        done = replaced.revoke_all_replaced(limit, seconds=_SECONDS)
        done += tokens.revoke_pending(limit, seconds=_SECONDS)[0]
        self.stdout.write(_("%(done)d tokens revoked or over. %(left)s") % {"done": done, "left": tokens.remaining()})
        kept = tokens.keep_alive(limit)
        self.stdout.write(
            _("%(renewed)d grants renewed, %(gone)d found gone, %(failed)d failed for now.")
            % {"renewed": kept.renewed, "gone": kept.gone, "failed": kept.failed}
        )
        if kept.failed:
            raise CommandError(
                _("Some grants could not be renewed. The next run tries again. The log has the reasons.")
            )
