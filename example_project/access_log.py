"""Log filter that removes query strings: the callback's contains the authorization code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

__all__ = ["without_query"]


def without_query(record: logging.LogRecord) -> bool:
    """Remove the query string from the request line. Keeps every record."""
    if isinstance(record.args, tuple):
        record.args = tuple(re.sub(r"\?\S*", "?…", each) if isinstance(each, str) else each for each in record.args)
    return True
