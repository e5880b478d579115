"""The gates of `decorators` for class-based views: put one before the view class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django_eprospera.decorators import kyc_required, residency_required

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from django.http import HttpResponseBase

__all__ = ["KycRequiredMixin", "ResidencyRequiredMixin"]


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
