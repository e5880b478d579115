"""Views behind every gate, for the tests of decorators and mixins."""

from django.http import HttpResponse
from django.urls import include, path
from django.views import View

from django_eprospera.access import Policy
from django_eprospera.decorators import access_required, kyc_required, recent_sign_in_required, residency_required
from django_eprospera.mixins import AccessRequiredMixin, KycRequiredMixin, ResidencyRequiredMixin


def page(request, **kwargs):
    return HttpResponse(f"behind the gate {kwargs.get('number', '')}")


async def async_page(request):
    return HttpResponse("behind the gate")


class Page(View):
    def get(self, request):
        return HttpResponse("behind the gate")


class AsyncPage(View):
    async def get(self, request):
        return HttpResponse("behind the gate")


class Members(ResidencyRequiredMixin, Page):
    pass


class FullResidents(ResidencyRequiredMixin, Page):
    residency_types = ("Resident", "e-Resident")


class Vault(KycRequiredMixin, Page):
    pass


class AsyncVault(KycRequiredMixin, AsyncPage):
    pass


class Company(AccessRequiredMixin, View):
    access_policy = Policy(company="approved")
    access_company = "pk"

    def get(self, request, pk):
        return HttpResponse("behind the gate")


class Both(KycRequiredMixin, ResidencyRequiredMixin, Page):
    pass


@access_required(Policy(company="approved", kyc=True), company="pk")
def company(request, pk):
    return HttpResponse("behind the gate")


urlpatterns = [
    path("members/", residency_required(page)),
    path("members/<int:number>/", residency_required()(page)),
    path("members/full/", residency_required(types=["Resident", "e-Resident"])(page)),
    path("members/async/", residency_required(async_page)),
    path("members/class/", Members.as_view()),
    path("members/class/full/", FullResidents.as_view()),
    path("vault/", kyc_required(page)),
    path("vault/parentheses/", kyc_required()(page)),
    path("vault/async/", kyc_required(async_page)),
    path("vault/class/", Vault.as_view()),
    path("vault/class/async/", AsyncVault.as_view()),
    path("both/", Both.as_view()),
    path("companies/<uuid:pk>/", company),
    path("companies/class/<uuid:pk>/", Company.as_view()),
    path("recent/", recent_sign_in_required(Page.as_view())),
    path("recent/async/", recent_sign_in_required(async_page)),
    path("open/", page),
    path("open/page/", Page.as_view()),
    path("open/async/", async_page),
    path("", include("tests.urls")),
]
