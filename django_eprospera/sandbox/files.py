"""Views and URLs of images and documents.

A signed URL works without a token until it expires (docs/provider.md#me-answers). The profile picture's URL is public and
does not change.
"""

from __future__ import annotations

import time

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse, JsonResponse

from django_eprospera.sandbox import documents, images
from django_eprospera.sandbox.companies import DOCUMENTS
from django_eprospera.sandbox.personas import PERSONAS
from django_eprospera.sandbox.state import current

__all__ = ["file", "picture", "picture_url", "signed_url"]


def _signer() -> Signer:
    # Not TimestampSigner: the lifetime is the one of the switch at the time of signing, not at the time of the request.
    return Signer(sep="&signature=", salt="eprospera_sandbox.files")


def signed_url(kind: str, name: str) -> str:
    """Return an absolute URL of one file that works for the seconds of the switch `file_url_seconds`."""
    expires = int(time.time()) + current().switches.file_url_seconds
    return current().options.issuer + _signer().sign(f"/files/{kind}/{name}?expires={expires}")


def picture_url(sub: str) -> str:
    """Return the public URL of a profile picture."""
    return f"{current().options.issuer}/pictures/{sub}.jpg"


def _bytes(content: bytes, content_type: str, *, cache: str) -> HttpResponse:
    return HttpResponse(content, content_type=content_type, headers={"Cache-Control": cache})


def picture(_request: HttpRequest, sub: str) -> HttpResponse:
    """Return a profile picture."""
    persona = PERSONAS.get(sub)
    if persona is None:
        return JsonResponse({"error": "File not found"}, status=404)
    return _bytes(images.portrait(persona), "image/jpeg", cache="public, max-age=3600")


def file(request: HttpRequest, kind: str, name: str) -> HttpResponse:
    """Return one identity image or company document to the bearer of a signed URL."""
    try:
        _signer().unsign(request.get_full_path())
    except BadSignature:
        return JsonResponse({"error": "The signature of this URL is not valid"}, status=403)
    # The signature proves that the number is the sandbox's own.
    if int(request.GET["expires"]) <= time.time():
        return JsonResponse({"error": "This URL has expired"}, status=403)
    stem = name.rpartition(".")[0]
    if kind == "id":
        sub, _, side = stem.rpartition("-")
        if sub in PERSONAS and side in PERSONAS[sub].sides:
            # What follows the end of a JPEG belongs to no picture.
            image = images.id_image(PERSONAS[sub], side).ljust(current().switches.image_bytes, b"\0")
            return _bytes(image, "image/jpeg", cache="private, no-store")
    elif kind == "documents":
        for entity, listed in DOCUMENTS.items():
            if any(document["id"] == stem and document["file"] for document in listed):
                return _bytes(documents.pdf(entity, stem), "application/pdf", cache="private, no-store")
    return JsonResponse({"error": "File not found"}, status=404)
