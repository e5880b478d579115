"""Pipeline steps as a site might have them."""

import hashlib

from django.contrib.auth import get_user_model
from django.http import HttpResponse
from social_core.exceptions import AuthPolicyError
from social_core.pipeline.partial import partial

DEFAULT = (
    "social_core.pipeline.social_auth.social_details",
    "social_core.pipeline.social_auth.social_names",
    "social_core.pipeline.social_auth.social_uid",
    "social_core.pipeline.social_auth.auth_allowed",
    "social_core.pipeline.social_auth.social_user",
    "social_core.pipeline.user.get_username",
    "social_core.pipeline.user.create_user",
    "social_core.pipeline.social_auth.associate_user",
    "social_core.pipeline.social_auth.load_extra_data",
    "social_core.pipeline.user.user_details",
)
# What the steps below were given, for tests to look at.
seen = []


@partial
def ask_for_terms(backend, strategy, **_):
    """Pauses until the person has agreed."""
    if strategy.request_data().get("agreed"):
        return None
    return HttpResponse("Do you agree?", content_type="text/plain")


def look(**given):
    seen.append(given)


def count_connections(**_):
    seen.append("after")


def ask_the_provider(backend, **_):
    """Through the base's own helper, as steps made for other providers do."""
    seen.append(backend.get_json(f"{backend.oidc_endpoint()}/userinfo", params={"a": "1"}))


def refuse(backend, **_):
    raise AuthPolicyError(backend, "canary-detail", code="membership_required", stage="pipeline")


def break_down(response, **_):
    claims = dict(response)
    raise RuntimeError(f"a bug, with {len(claims)} claims at hand")


def break_the_database(user, **_):
    type(user).objects.create(username=user.username)


def find_nobody(**_):
    return {"user": None, "is_new": False}


def join_by_email(details, user=None, **_):
    """Joins whoever has the same address, which is the site's own decision."""
    return {"user": user or get_user_model().objects.filter(email=details["email"]).first(), "is_new": False}


def make_up_an_address(details, uid, **_):
    """A site's own answer to people without an address: it decides before `create_user`."""
    if not details["email"]:
        details["email"] = f"{hashlib.sha256(uid.encode()).hexdigest()[:20]}@users.invalid"
