"""What does the development server's log say of a request? No query: that of the callback holds the authorization code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

__all__ = ["without_query"]


def without_query(record: logging.LogRecord) -> bool:
    """Cut the query out of the request line."""
    if isinstance(record.args, tuple):
        record.args = tuple(re.sub(r"\?\S*", "?…", each) if isinstance(each, str) else each for each in record.args)
    return True
