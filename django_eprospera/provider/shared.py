"""Values of the provider that one thread fetches for all threads of the process, and failures that are remembered."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from django_eprospera.errors import ApiError, ProviderUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Shared"]

T = TypeVar("T")

# Seconds without a further attempt after a failure; they double with each failure in a row.
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 60.0


class Shared(Generic[T]):
    """A value that is fetched anew after `lifetime` seconds.

    Only one thread fetches. Meanwhile the others get the former value, or wait for the first one. After a failure no
    thread fetches for some seconds: every caller gets that error at once.
    """

    def __init__(self, lifetime: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._changed = threading.Condition()
        self._fetched_at = float("-inf")
        self._fetching_since: float | None = None
        self._failure: ApiError | None = None
        self._pause = 0.0
        self.value: T | None = None
        self.retry_at = float("-inf")

    def get(self, fetch: Callable[[], T], *, patience: float, than: T | None = None) -> T:
        """Return the value, which `fetch` returns if it has to be fetched: also when it is still `than`.

        `patience` is for how many seconds after a fetch began another caller waits for its first value. Raises what `fetch`
        raises, the ApiError of the last attempt while it is remembered, and ProviderUnavailable `timeout` after `patience`.
        """
        with self._changed:
            while True:
                value, now = self.value, self._clock()
                if value is not None and value is not than and now - self._fetched_at < self._lifetime:
                    return value
                if self._fetching_since is None:
                    break
                if value is not None and value is not than:
                    return value
                left = self._fetching_since + patience - now
                if left <= 0:
                    raise ProviderUnavailable("GET", "(fetched by another request)", "timeout")
                self._changed.wait(left)
            if self._failure is not None and now < self.retry_at:
                raise _again(self._failure)
            self._fetching_since = now
        return self._fetch(fetch)

    def _fetch(self, fetch: Callable[[], T]) -> T:
        value: T | None = None
        failure: ApiError | None = None
        try:
            value = fetch()
        except ApiError as error:
            failure = _again(error)
            raise
        finally:
            with self._changed:
                self._fetching_since = None
                self._failure = failure
                if failure is not None:
                    self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                    self.retry_at = self._clock() + self._pause
                elif value is not None:
                    self.value, self._fetched_at, self._pause = value, self._clock(), 0.0
                self._changed.notify_all()
        return value


def _again(error: ApiError) -> ApiError:
    """The same error without its traceback: an instance that is raised in several threads mixes up theirs."""
    return type(error)(
        error.method,
        error.path,
        error.code,
        status=error.status,
        request_id=error.request_id,
        retry_after=error.retry_after,
        advice=error.advice,
    )
