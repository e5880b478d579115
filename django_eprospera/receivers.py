"""Receivers: connects signals of Django and of lower packages to their handlers. Imported by `apps.ready`."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction
from django.db.models.signals import post_delete, post_init, post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.utils.translation import get_language
from social_django.models import Partial

from django_eprospera import documents, kyc, prune, signals, tasks
from django_eprospera.conf import conf
from django_eprospera.fields.fixtures import after_raw_save, before_raw_save
from django_eprospera.kyc import affiliations
from django_eprospera.models import Connection, EntityConsent, EntityDocument, VerificationImage
from django_eprospera.sign_in import pending
from django_eprospera.sign_in.recent import note_authentication, note_sign_in
from django_eprospera.sign_in.user_details import fit_email
from django_eprospera.tokens.grant import clear

__all__: list[str] = []


@receiver(signals.signed_in)
def sync_after_sign_in(connection: Connection, **_: Any) -> None:
    """Enqueue a sync. The sign-in does not fail when the queue is down: a later batch syncs the connection."""
    transaction.on_commit(lambda: tasks.enqueue_claimed(connection.pk), robust=True)


@receiver(signals.revocation_pending)
def revoke_soon(connection: Connection | None = None, **_: Any) -> None:
    """Enqueue the revocation. What cannot be enqueued stays in its table, where `eprospera_keep_alive` finds it."""
    task = (
        tasks.revoke_pending.enqueue
        if connection is None
        else partial(tasks.revoke_replaced.enqueue, str(connection.pk))
    )
    transaction.on_commit(task, robust=True)


@receiver(signals.identity_linked)
def notify_of_link(connection: Connection, **_: Any) -> None:
    """Notify the owner of an account when an identity was linked to it, if EPROSPERA_NOTIFY_OWNER is set."""
    _notify(connection.user, "identity_linked")


@receiver(signals.connection_ended)
def notify_of_end(user: Any, **_: Any) -> None:
    """Notify the owner of an account when its connection was ended, if EPROSPERA_NOTIFY_OWNER is set."""
    _notify(user, "connection_ended")


def _notify(user: Any, event: str) -> None:
    if conf.EPROSPERA_NOTIFY_OWNER:
        language = get_language() or settings.LANGUAGE_CODE
        transaction.on_commit(lambda: tasks.notify_owner.enqueue(str(user.pk), event, language), robust=True)


@receiver(signals.facts_synced)
def evaluate_reviews(connection: Connection, changed: list[str], **_: Any) -> None:
    """Evaluate reviews: new facts may queue one, or put a decided one back into the queue.

    Facts that have not changed were evaluated before, unless the sync before was interrupted or its receivers failed.
    """
    if not changed and not connection.sync_error:
        return
    try:
        kyc.evaluate(connection)
    except (ObjectDoesNotExist, IntegrityError):
        if Connection.objects.filter(pk=connection.pk).exists():
            raise
        # The connection, or its user, was deleted meanwhile.


@receiver(post_save, sender=Connection)
def remember_connection(instance: Connection, *, raw: bool = False, update_fields: Any = None, **_: Any) -> None:
    """Remember whose connection it is: nobody decides on themselves, also after a disconnect. Fixtures have rows for that."""
    if not raw and (update_fields is None or not update_fields.isdisjoint({"user", "issuer", "sub"})):
        affiliations.remember_connection(instance)


@receiver(post_save, sender=EntityConsent)
def remember_consent(instance: EntityConsent, *, raw: bool = False, **_: Any) -> None:
    """Remember who shared a company: they never decide on it."""
    if not raw:
        affiliations.remember_consent(instance)


@receiver(pre_delete, sender=Connection)
def clear_what_ends(instance: Connection, **_: Any) -> None:
    """Revoke the tokens and erase the facts of a connection that ends (disconnected, its user deleted)."""
    clear(instance)


@receiver(pre_delete, sender=VerificationImage)
@receiver(pre_delete, sender=EntityDocument)
def remove_file(instance: VerificationImage | EntityDocument, **_: Any) -> None:
    """Delete the file of a row that is deleted."""
    documents.forget(instance)


@receiver(user_logged_in)
def note_when_signed_in(request: Any, **_: Any) -> None:
    """Note in the session what this sign-in proves. What an earlier one proved is removed."""
    if request is not None:
        auth_time, proves_identity = getattr(request, "eprospera_sign_in", (None, False))
        note_sign_in(request, auth_time if proves_identity else None)
        note_authentication(request, auth_time)


pre_save.connect(fit_email, sender=settings.AUTH_USER_MODEL, dispatch_uid="eprospera_fit_email")

# A paused sign-in contains tokens, and python-social-auth stores it as plain JSON.
pre_save.connect(pending.seal_partial, sender=Partial, dispatch_uid="eprospera_seal_partial")
post_save.connect(pending.restore_partial, sender=Partial, dispatch_uid="eprospera_restore_partial")
post_init.connect(pending.open_partial, sender=Partial, dispatch_uid="eprospera_open_partial")


@receiver(post_delete, sender=EntityConsent)
def erase_company(instance: EntityConsent, **_: Any) -> None:
    """Erase a company with its last consent: one that was withdrawn long ago, or of a person who disconnects."""
    transaction.on_commit(lambda: prune.erase_unshared(instance.entity_id), robust=True)


# Fixtures: sealed values are stored as `dumpdata` wrote them.
pre_save.connect(before_raw_save, dispatch_uid="eprospera_before_raw_save")
post_save.connect(after_raw_save, dispatch_uid="eprospera_after_raw_save")
