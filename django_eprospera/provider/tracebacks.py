"""Removal of local variables from tracebacks, so that error reports contain no secret.

With DEBUG on, Django's error page prints the local variables of every frame, and so do error trackers: tokens, client
secrets and a person's data among them. A cleared frame still has file and line.
"""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["forget_locals"]

P = ParamSpec("P")
R = TypeVar("R")


def forget_locals(function: Callable[P, R]) -> Callable[P, R]:
    """Clear the variables of every frame below when `function` raises, and of every error that it hides.

    For the outermost functions through which a secret passes. The frames of the callers are not cleared.
    """

    @functools.wraps(function)
    def forgetful(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            seen: BaseException | None = error
            for _ in range(20):  # a chain of errors may be a ring
                if seen is None:
                    break
                traceback.clear_frames(seen.__traceback__)
                seen = seen.__cause__ or seen.__context__
            del args, kwargs
            raise

    return forgetful
