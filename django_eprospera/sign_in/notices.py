"""E-mails that notify the owner of an account of a change of who can sign in to it."""

from __future__ import annotations

import logging
from typing import Final

from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils import translation

__all__ = ["send_notice"]

logger = logging.getLogger("django_eprospera.sign_in")

_EVENTS: Final = frozenset({"connection_ended", "identity_linked"})


def send_notice(user_id: str, event: str, language: str) -> bool:
    """Send the e-mail about `event` (`connection_ended` or `identity_linked`) to a user.

    Returns whether it was sent: not to a user who is gone or has no address, nor when the mail server fails, which is logged.
    Raises ValueError for another event.
    """
    if event not in _EVENTS:
        raise ValueError(f"event must be one of {', '.join(sorted(_EVENTS))}, not {event!r}.")
    model = get_user_model()
    user = model._default_manager.filter(pk=user_id).first()  # noqa: SLF001 - Django's documented name
    address = "" if user is None else getattr(user, model.get_email_field_name(), "")
    if user is None or not address:
        return False
    name = f"django_eprospera/email/{event}"
    with translation.override(language):
        context = {"username": user.get_username()}
        subject = " ".join(render_to_string(f"{name}_subject.txt", context).split())
        body = render_to_string(f"{name}.txt", context)
    try:
        return bool(send_mail(subject, body, None, [address]))
    except Exception as error:  # noqa: BLE001 - each mail backend raises its own errors when it is down
        logger.error("the e-mail %s to user %s could not be sent: %s", event, user_id, type(error).__name__)  # noqa: TRY400
        return False
