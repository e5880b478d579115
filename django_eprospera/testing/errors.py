"""How the kit fails a test."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["ProviderReached", "SignInFailed"]


class ProviderReached(AssertionError):
    """A test would have reached a provider on another machine."""


class SignInFailed(AssertionError):
    """A sign-in did not end with a signed-in user. `response` is the answer of the site."""

    def __init__(self, what: str, response: Any) -> None:
        text = re.sub(
            r"<(style|script).*?</\1>|<[^>]+>", " ", response.content.decode(errors="replace"), flags=re.DOTALL
        )
        super().__init__(
            f"{what}: HTTP {response.status_code} {response.get('Location', '')} {' '.join(text.split())[:500]}"
        )
        self.response = response
