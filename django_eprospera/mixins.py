"""The gates of `decorators` for class-based views. Put the mixin to the left of the view class."""

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
    """`residency_required` for class-based views. `residency_types` is its `types`."""

    residency_types: ClassVar[Collection[str]] = ()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """Return the view function, restricted by the gate."""
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)  # type: ignore[misc]
        return residency_required(types=initkwargs.get("residency_types", cls.residency_types))(view)


class KycRequiredMixin:
    """`kyc_required` for class-based views."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """Return the view function, restricted by the gate."""
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)  # type: ignore[misc]
        return kyc_required(view)


class RecentSignInRequiredMixin:
    """`recent_sign_in_required` for class-based views. `recent_sign_in_max_age` is its `max_age`."""

    recent_sign_in_max_age: timedelta | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Dispatch the request if the sign-in is recent enough; otherwise redirect to the page that asks for one."""
        if has_recent_sign_in(request, self.recent_sign_in_max_age):
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
            return response
        return ask_to_sign_in(request)
