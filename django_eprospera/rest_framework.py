"""Access rules for views of Django REST framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission

from django_eprospera.access import Access, Policy
from django_eprospera.access.rules import evaluate_request

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

__all__ = ["AccessPermission", "access_permission"]


class AccessPermission(BasePermission):  # type: ignore[misc]
    """Permission of users who have what `policy` names; `company` is the URL argument with the company in question.

    A refusal has status 403 and the members of a problem document (RFC 9457 section 3).
    """

    policy: ClassVar[Policy] = Policy()
    company: ClassVar[str] = ""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise the refusal."""
        answer = evaluate_request(request, self.policy, view.kwargs, self.company)
        if not answer.allowed:
            raise _Refused(answer)
        return True


def access_permission(policy: Policy, *, company: str = "") -> type[AccessPermission]:
    """Return a permission class: `permission_classes = [access_permission(Policy(kyc=True))]`."""
    return type("AccessPermission", (AccessPermission,), {"policy": policy, "company": company})


class _Refused(APIException):  # type: ignore[misc]
    status_code = 403

    def __init__(self, answer: Access) -> None:
        super().__init__(answer.message, answer.code)
        self.detail = answer.problem
