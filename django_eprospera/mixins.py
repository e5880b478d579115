"""The gates of `decorators` for class-based views. Put the mixin to the left of the view class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django_eprospera.access import Policy
from django_eprospera.decorators import access_required, kyc_required, recent_sign_in_required, residency_required

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from django.http import HttpResponseBase

    View = Callable[..., HttpResponseBase]

__all__ = ["AccessRequiredMixin", "KycRequiredMixin", "RecentSignInRequiredMixin", "ResidencyRequiredMixin"]


class AccessRequiredMixin:
    """`access_required` for class-based views: `access_policy` is its policy, `access_company` its `company`."""

    access_policy: ClassVar[Policy] = Policy()
    access_company: ClassVar[str] = ""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> View:
        """Return the view function, restricted by the gate."""
        view: View = super().as_view(**initkwargs)  # type: ignore[misc]
        return access_required(cls.access_policy, company=cls.access_company)(view)


class ResidencyRequiredMixin:
    """`residency_required` for class-based views. `residency_types` is its `types`."""

    residency_types: ClassVar[Collection[str]] = ()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> View:
        """Return the view function, restricted by the gate."""
        view: View = super().as_view(**initkwargs)  # type: ignore[misc]
        return residency_required(types=initkwargs.get("residency_types", cls.residency_types))(view)


class KycRequiredMixin:
    """`kyc_required` for class-based views."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> View:
        """Return the view function, restricted by the gate."""
        view: View = super().as_view(**initkwargs)  # type: ignore[misc]
        return kyc_required(view)


class RecentSignInRequiredMixin:
    """`recent_sign_in_required` for class-based views. `recent_sign_in_max_age` is its `max_age`."""

    recent_sign_in_max_age: ClassVar[timedelta | None] = None

    @classmethod
    def as_view(cls, **initkwargs: Any) -> View:
        """Return the view function, restricted by the gate."""
        view: View = super().as_view(**initkwargs)  # type: ignore[misc]
        return recent_sign_in_required(max_age=initkwargs.get("recent_sign_in_max_age", cls.recent_sign_in_max_age))(
            view
        )
