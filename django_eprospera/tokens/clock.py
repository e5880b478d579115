"""The database's time, by which all hosts agree when a token is over and a pause ends, whatever their own clocks say."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.functions import Now

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import Model, QuerySet
    from django.db.models.expressions import CombinedExpression

__all__ = ["in_database", "now", "read"]

M = TypeVar("M", bound="Model")


def read(rows: QuerySet[M]) -> M | None:
    """Return the only row, read together with the database's time; `now` then knows it. None without a row."""
    for row in rows.annotate(read_at=Now()):
        row.__dict__["ticks"] = time.monotonic()
        return row
    return None


def now(row: Model) -> datetime:
    """Return the database's time: what it was when `read` read the row, and what has passed since."""
    read_at: datetime = row.__dict__["read_at"]
    return read_at + timedelta(seconds=time.monotonic() - row.__dict__["ticks"])


def in_database(later: timedelta = timedelta(0)) -> ExpressionWrapper[CombinedExpression]:
    """Return the expression for the database's time, and so much later, for queries and updates."""
    return ExpressionWrapper(Now() + Value(later), output_field=DateTimeField())
