"""Where do images and documents lie, and for how long does a link to them work?

A signed URL opens without a token until it expires (contract, section 10). The profile picture's URL is public and stable.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare

from django_eprospera.sandbox import cards, papers, state
from django_eprospera.sandbox.companies import DOCUMENTS
from django_eprospera.sandbox.personas import PERSONAS

__all__ = ["file", "picture", "picture_url", "signed_url"]


def _signature(path: str, expires: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), f"file:{path}:{expires}".encode(), hashlib.sha256).hexdigest()


def signed_url(kind: str, name: str) -> str:
    """An absolute URL that opens one file until the switch `file_url_seconds` has passed."""
    path = f"/files/{kind}/{name}"
    expires = str(int(time.time()) + state.switches().file_url_seconds)
    return f"{state.options().issuer}{path}?{urlencode({'expires': expires, 'signature': _signature(path, expires)})}"


def picture_url(sub: str) -> str:
    """The public URL of a profile picture."""
    return f"{state.options().issuer}/pictures/{sub}.jpg"


def _bytes(content: bytes, content_type: str, *, cache: str) -> HttpResponse:
    return HttpResponse(content, content_type=content_type, headers={"Cache-Control": cache})


def picture(_request: HttpRequest, sub: str) -> HttpResponse:
    """A profile picture."""
    persona = PERSONAS.get(sub)
    if persona is None:
        return JsonResponse({"error": "File not found"}, status=404)
    return _bytes(cards.portrait(persona), "image/jpeg", cache="public, max-age=3600")


def file(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    """One identity image or company document, for the bearer of a signed URL."""
    expires, signature = request.GET.get("expires", ""), request.GET.get("signature", "")
    if not constant_time_compare(signature, _signature(request.path, expires)):
        return JsonResponse({"error": "The signature of this URL is not valid"}, status=403)
    # Signed by us, so it is a number.
    if int(expires) <= time.time():
        return JsonResponse({"error": "This URL has expired"}, status=403)
    stem = name.rpartition(".")[0]
    if kind == "id":
        sub, _, side = stem.rpartition("-")
        if sub in PERSONAS and side in PERSONAS[sub].sides:
            return _bytes(cards.id_image(PERSONAS[sub], side), "image/jpeg", cache="private, no-store")
    elif kind == "documents":
        for entity, documents in DOCUMENTS.items():
            if any(document["id"] == stem and document["file"] for document in documents):
                return _bytes(papers.pdf(entity, stem), "application/pdf", cache="private, no-store")
    return JsonResponse({"error": "File not found"}, status=404)
