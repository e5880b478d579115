"""Routes for the tests of the sign-in: the suite's own, a page that says who is signed in, and guarded ones."""

from datetime import timedelta

from django.http import HttpResponse
from django.template import RequestContext, Template
from django.urls import path
from django.views import View

from django_eprospera.decorators import recent_sign_in_required
from django_eprospera.mixins import RecentSignInRequiredMixin
from tests.urls import urlpatterns as suite


def whoami(request):
    return HttpResponse(request.user.get_username(), content_type="text/plain")


def button(request):
    tag = request.GET.get("tag", "{% eprospera_sign_in %}")
    return HttpResponse(Template("{% load eprospera i18n %}" + tag).render(RequestContext(request)))


@recent_sign_in_required
def guarded(request):
    return HttpResponse(f"guarded {request.method}", content_type="text/plain")


@recent_sign_in_required(max_age=timedelta(seconds=30))
def closely_guarded(request):
    return HttpResponse("closely guarded", content_type="text/plain")


class GuardedView(RecentSignInRequiredMixin, View):
    def get(self, request):
        return HttpResponse("guarded class", content_type="text/plain")


urlpatterns = [
    *suite,
    path("whoami/", whoami),
    path("button/", button),
    path("guarded/", guarded),
    path("closely-guarded/", closely_guarded),
    path("guarded-class/", GuardedView.as_view()),
]
