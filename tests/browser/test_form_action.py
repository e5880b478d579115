"""A Content-Security-Policy with `form-action 'self'` blocks the sign-in button, unless the provider is added to it."""

import django
import pytest

from tests.sandbox_process import SandboxProcess
from tests.site_process import SiteProcess, free_port

POLICIES = {
    "django-csp": "CONTENT_SECURITY_POLICY = {{'DIRECTIVES': {{'form-action': {sources}}}}}",
    "django": "SECURE_CSP = {{'form-action': {sources}}}\nCONTENT_SECURITY_POLICY = None\n"
    "MIDDLEWARE.insert(1, 'django.middleware.csp.ContentSecurityPolicyMiddleware')",
}


@pytest.mark.parametrize("mechanism", ["django-csp", *(["django"] if django.VERSION >= (6, 0) else [])])
@pytest.mark.parametrize(
    ("sources", "works"),
    [
        pytest.param("[\"'self'\"]", False, id="self"),
        pytest.param("[\"'self'\", EPROSPERA_BASE_URL]", True, id="both", marks=pytest.mark.thorough),
    ],
)
def test_check_and_browser_agree_on_what_a_policy_blocks(chromium, tmp_path, mechanism, sources, works):
    port = free_port()
    with (
        SandboxProcess(redirect_uris=[f"http://localhost:{port}/complete/eprospera/"]) as provider,
        SiteProcess(tmp_path, provider, port, POLICIES[mechanism].format(sources=sources)) as site,
    ):
        assert ("eprospera.W007" in site.manage("check").stderr) is not works
        page = chromium.new_page()
        page.goto(f"{site.url}/")
        button = page.get_by_role("button", name="Sign in with e-Próspera")
        if works:
            button.click()
            page.wait_for_url(f"{provider.url}/**")
        else:
            with page.expect_console_message(lambda message: "form-action" in message.text):
                button.click()
            assert page.url == f"{site.url}/"
        page.close()
