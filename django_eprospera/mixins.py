"""The gates of `decorators` for class-based views: put one before the view class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django_eprospera.decorators import ask_to_sign_in, kyc_required, residency_required
from django_eprospera.sign_in.recent import has_recent_sign_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from django.http import HttpRequest, HttpResponseBase

__all__ = ["KycRequiredMixin", "RecentSignInRequiredMixin", "ResidencyRequiredMixin"]


class ResidencyRequiredMixin:
    """Opens the view to residents only; with `residency_types`, to these kinds of residents."""

    residency_types: ClassVar[Collection[str]] = ()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """Return the view behind its gate."""
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)  # type: ignore[misc]
        return residency_required(types=initkwargs.get("residency_types", cls.residency_types))(view)


class KycRequiredMixin:
    """Opens the view to people whose KYC is approved."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """Return the view behind its gate."""
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)  # type: ignore[misc]
        return kyc_required(view)


class RecentSignInRequiredMixin:
    """`recent_sign_in_required` for class-based views. Stands left of the view; `recent_sign_in_max_age` is its `max_age`."""

    recent_sign_in_max_age: timedelta | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Ask before the view's own dispatch."""
        if has_recent_sign_in(request, self.recent_sign_in_max_age):
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
            return response
        return ask_to_sign_in(request)
