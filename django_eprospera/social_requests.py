"""How do python-social-auth's own HTTP calls keep to our bounds? No models; its kind of answer, its kind of errors."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import requests
from social_core.exceptions import AuthConfigurationError, AuthProviderError, AuthResponseError
from social_core.utils import http_error

from django_eprospera.errors import ApiError, MalformedAnswer
from django_eprospera.http import call
from django_eprospera.provider import limits
from django_eprospera.tracebacks import forget_locals

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["bounded_request"]


@forget_locals
def bounded_request(
    backend: Any,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, Any] | None = None,
    data: Mapping[str, str] | None = None,
    json: Any = None,
    auth: Any = None,
    params: Mapping[str, str] | None = None,
    timeout: float | None = None,  # noqa: ARG001 - ours is in the settings
    stage: str = "user_info",
) -> requests.Response:
    """What `BaseAuth.request` promises, within EPROSPERA_DEADLINE and EPROSPERA_MAX_ANSWER_BYTES.

    Raises AuthProviderError, AuthResponseError for an answer that is too large or redirects, AuthConfigurationError for what
    the provider does not take (JSON bodies, other kinds of `auth` than a pair).
    """
    if json is not None or not (auth is None or isinstance(auth, tuple)):
        raise AuthConfigurationError(backend, code="unsupported_feature", stage=stage)
    sent = {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in (headers or {}).items()}
    if auth is not None:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
    target = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(params)}" if params else url
    path = urlsplit(url).path[:200] or "/"
    try:
        answer = call(method, target, limits=limits(), path_template=path, headers=sent, form=data)
    except MalformedAnswer:
        raise AuthResponseError(backend, code="malformed_response", stage=stage) from None
    except ApiError as error:
        code = "timeout" if error.code == "timeout" else "connection_failed"
        raise AuthProviderError(backend, code=code, stage=stage) from None
    response = requests.Response()
    response.status_code, response.url = answer.status, path
    response.headers.update(answer.headers)
    response.raw = io.BytesIO(answer.body)
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        raise http_error(backend, error, stage=stage) from None
    return response
