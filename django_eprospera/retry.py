"""When is a question asked again, and how long does one wait? For GET only. No models, no Django."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django_eprospera.errors import ApiError, MalformedAnswer, ProviderUnavailable
from django_eprospera.http import Answer, Limits, call

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

__all__ = ["Retries", "get_with_retries"]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often (`attempts`, the first included) and how long in all (`budget`, seconds) a GET is tried.

    Pauses double from `first_pause` up to `longest_pause`, each a random part of that; the provider's `Retry-After` comes
    before both, as far as the budget goes. `sleep` and `clock` are there for a caller with a clock of its own.
    """

    attempts: int = 3
    budget: float = 30.0
    first_pause: float = 0.5
    longest_pause: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def get_with_retries(
    url: str,
    *,
    limits: Limits,
    path_template: str,
    auth: str | None = None,
    retries: Retries | None = None,
    session: requests.Session | None = None,
) -> Answer:
    """GET, again after a failure to connect, a lost answer, 429 or 5xx.

    Returns the last answer, whatever its status. Raises the last error of `call`; a malformed answer is not asked for again.
    """
    plan = retries or Retries()
    ends = plan.clock() + plan.budget
    for attempt in range(1, plan.attempts + 1):
        left = max(ends - plan.clock(), 0.1)
        within = replace(limits, deadline=min(limits.deadline, left))
        outcome: Answer | ApiError
        try:
            outcome = call("GET", url, limits=within, path_template=path_template, auth=auth, session=session)
        except MalformedAnswer:
            raise
        except ProviderUnavailable as error:
            outcome = error
        if isinstance(outcome, Answer) and outcome.status != 429 and outcome.status < 500:
            return outcome
        pause = _pause(plan, attempt, outcome.retry_after)
        if attempt == plan.attempts or plan.clock() + pause >= ends:
            break
        plan.sleep(pause)
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome


def _pause(plan: Retries, attempt: int, wish: float | None) -> float:
    if wish is not None:
        return wish
    ceiling = min(plan.first_pause * 2 ** (attempt - 1), plan.longest_pause)
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads callers, hides nothing
