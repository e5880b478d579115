"""Sign-in of a persona with Django's test client: through the site's own views and the sandbox, without its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.db import router
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone

from django_eprospera.models import Connection
from django_eprospera.sync import sync
from django_eprospera.testing.errors import SignInFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.test import Client

    from django_eprospera.testing.sandbox import Sandbox

__all__ = ["callback_path", "sign_in"]


def callback_path() -> str:
    """Return the path at which the site takes the provider's answer."""
    return _path("complete")


def sign_in(client: Client, sandbox: Sandbox, persona: str, companies: Iterable[str] | None) -> Any:
    """Sign in, run what waits for the commit, and sync. Return the user. Raises SignInFailed.

    `companies` are those that the persona shares; None: all of them.
    """
    secure = bool(settings.SECURE_SSL_REDIRECT)
    started = client.post(_path("begin"), secure=secure)
    url = started.get("Location", "")
    if not url.startswith(f"{sandbox.url}/"):
        raise SignInFailed("The site did not send the browser to the sandbox", started)
    sandbox.register(parse_qs(urlsplit(url).query)["redirect_uri"][0])
    chosen = {} if companies is None else {"entities": list(companies)}
    location = sandbox.control("sign-in", url=url, sub=persona, **chosen)["location"]
    alias, since = router.db_for_write(Connection), timezone.now()
    # A TestCase never commits. Without this, the first sync would not run, and every gate would refuse.
    with TestCase.captureOnCommitCallbacks(using=alias, execute=True):
        answer = client.get(location, secure=secure)
    user = get_user(client)  # only its session is read
    if answer.status_code != 302 or not user.is_authenticated:
        raise SignInFailed(f"{persona} is not signed in", answer)
    connection = Connection.objects.filter(user_id=user.pk).first()
    if connection is None:
        raise SignInFailed(
            f"{persona} is signed in and has no connection: is store_connection in the pipeline?", answer
        )
    if not connection.resources.filter(attempted_at__gte=since).exists():
        sync(connection)  # the task waits in a queue
    return user


def _path(step: str) -> str:
    namespace = getattr(settings, "SOCIAL_AUTH_URL_NAMESPACE", "social")
    return reverse(f"{namespace}:{step}", args=["eprospera"])
