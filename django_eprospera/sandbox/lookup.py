"""POST /api/v1/verify_rpn: whether a permit number exists (docs/provider.md#device-flow-and-other-endpoints).

Takes a key instead of an access token: `sk-sandbox`, or `ak-` and the sub of a persona. Other keys are unknown.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from django_eprospera.sandbox import facts
from django_eprospera.sandbox.companies import COMPANIES
from django_eprospera.sandbox.endpoint import endpoint, too_many_requests
from django_eprospera.sandbox.models import Account
from django_eprospera.sandbox.personas import PERSONAS
from django_eprospera.sandbox.state import current

__all__ = ["STANDARD_KEY", "agent", "verify_rpn"]

STANDARD_KEY = "sk-sandbox"


def agent(key: str) -> Account | None:
    """Return the account of an Agent Key, or None if there is no such key."""
    sub = key.removeprefix("ak-")
    return Account.objects.get(pk=sub) if key.startswith("ak-") and sub in PERSONAS else None


def _error(error: str, status: int) -> JsonResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status in (401, 403) else {}
    return JsonResponse({"error": error}, status=status, headers=headers)


@endpoint("POST")
def verify_rpn(request: HttpRequest) -> HttpResponse:
    """POST /api/v1/verify_rpn."""
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip()
    if kind.lower() != "bearer" or not key:
        return _error("missing_token", 401)
    if not key.startswith(("sk-", "ak-")):
        return _error("Access tokens are not supported on this endpoint", 403)
    if key != STANDARD_KEY and agent(key) is None:
        return _error("invalid_token", 401)
    # The only limits that the provider publishes: 50 a minute and 5,000 a day for each key.
    limits = current().limits
    if seconds := limits.wait(f"verify_rpn {key}", 50, 60) or limits.wait(f"verify_rpn {key}", 5000, 86400):
        return too_many_requests(seconds, "Rate limit exceeded")
    try:
        body: Any = json.loads(request.body)
    except ValueError:
        body = None
    rpn = body.get("rpn") if isinstance(body, dict) else None
    if not isinstance(rpn, str) or not re.fullmatch("[0-9]{14}", rpn):
        return _error("invalid_request", 400)
    return JsonResponse(_found(rpn), headers={"Cache-Control": "no-store"})


def _found(rpn: str) -> dict[str, Any]:
    now = timezone.now()
    for company in COMPANIES.values():
        if company["residentPermitNumber"] == rpn:
            dissolved = company["dissolutionDate"]
            return {"result": "found_legal_entity", "active": not dissolved or datetime.fromisoformat(dissolved) > now}
    for account in Account.objects.all():
        if (facts.person(account) or {}).get("residentPermitNumber") == rpn:
            active = (facts.residency(account) or {}).get("activeResidency")
            ends = active and active["terminationDate"]
            is_active = bool(active) and (not ends or datetime.fromisoformat(ends) > now)
            return {"result": "found_natural_person", "active": is_active}
    return {"result": "not_found", "active": False}
