"""What the client asks, and what it makes of each answer, against a provider on a real socket."""

import base64
import json
import traceback
import urllib.parse
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from django_eprospera.errors import (
    AnswerLost,
    ApiError,
    ClientRejected,
    ConfigurationError,
    InvalidGrant,
    MalformedAnswer,
    NotFound,
    ProviderUnavailable,
    ScopeMissing,
    TokenRejected,
)
from django_eprospera.provider import grants
from django_eprospera.provider.client import Client
from django_eprospera.provider.discovery import Discovery, forget_discovered
from django_eprospera.provider.http import Limits, Retries
from tests import peers
from tests.peers import Peer, answers, free_port, response, routes

TOKEN = "access-canary"
REFRESH = "refresh-canary"
CLIENT_SECRET = "p@ss wörd:+/canary"
ENTITY = uuid.UUID("3e1b5c77-91d0-4a3b-8f8e-2a6c0d9e4f10")
TOKENS = {"access_token": "new", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "rt_new"}
AT_ONCE = Retries(sleep=lambda seconds: None)


def label(value):
    """A short name for a parameter: status and body of an answer."""
    if isinstance(value, bytes):
        head, _, body = value.partition(b"\r\n\r\n")
        return f"{head.split()[1].decode()} {body[:40].decode()}"
    return getattr(value, "__name__", None) if isinstance(value, type) else None


def payload(name):
    return json.loads((Path(__file__).parents[1] / "payloads" / f"{name}.json").read_text("utf-8"))


def client_of(url, **kwargs):
    kwargs.setdefault("retries", AT_ONCE)
    limits = Limits(connect_timeout=5, read_timeout=20, deadline=20)
    return Client(url, client_id="my client", client_secret=CLIENT_SECRET, limits=limits, **kwargs)


def metadata(url, **changes):
    document = {
        "issuer": url,
        "authorization_endpoint": f"{url}/api/oauth/authorize",
        "token_endpoint": f"{url}/api/oauth/token",
        "userinfo_endpoint": f"{url}/api/oauth/userinfo",
        "jwks_uri": f"{url}/api/oauth/.well-known/jwks.json",
        "revocation_endpoint": f"{url}/api/oauth/revoke",
    }
    return response(200, {name: value for name, value in {**document, **changes}.items() if value is not None})


class Provider(Peer):
    """A provider whose discovery works; everything else is what a test says."""

    def __init__(self, table=None, metadata_changes=None):
        self.table = table or {}
        super().__init__(self._talk)
        self._discovery = metadata(self.url, **(metadata_changes or {}))

    def _talk(self, talk):
        routes({"/.well-known/openid-configuration": self._discovery, **self.table})(talk)

    def asked(self, path):
        return [request for request in self.requests if request.target == path]


def error_of(ask):
    with pytest.raises(ApiError) as caught:
        ask()
    text = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert "canary" not in text
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if frame.f_code.co_filename != __file__:
            assert "canary" not in repr(frame.f_locals)
    assert caught.value.__cause__ is None
    return caught.value


RESOURCES = {
    "/api/v1/me/natural-person": lambda client: client.natural_person(TOKEN),
    "/api/v1/me/natural-person/residency": lambda client: client.residency(TOKEN),
    "/api/v1/me/natural-person/id-verification": lambda client: client.id_verification(TOKEN),
    "/api/v1/me/legal-entities": lambda client: client.legal_entities(TOKEN),
    f"/api/v1/me/legal-entities/{ENTITY}": lambda client: client.legal_entity(TOKEN, ENTITY),
    f"/api/v1/me/legal-entities/{ENTITY}/documents": lambda client: client.legal_entity_documents(TOKEN, ENTITY),
    "/api/oauth/userinfo": lambda client: client.userinfo(TOKEN),
}
EXAMPLES = [
    "natural-person.person",
    "residency.open",
    "id-verification.approved",
    "legal-entities.one",
    "legal-entity.one",
    "legal-entity-documents.two",
    "userinfo.full",
]
each_resource = pytest.mark.parametrize(
    ("path", "ask"), list(RESOURCES.items()), ids=[example.partition(".")[0] for example in EXAMPLES]
)


class TestResources:
    @pytest.mark.parametrize(("path", "example"), list(zip(RESOURCES, EXAMPLES, strict=True)))
    def test_each_is_asked_with_the_token_at_its_path(self, path, example):
        with Provider({path: response(200, payload(example))}) as provider:
            assert RESOURCES[path](client_of(provider.url))
            (request,) = provider.asked(path)
        assert (request.method, request.headers["authorization"]) == ("GET", f"Bearer {TOKEN}")

    def test_null_is_none(self):
        nothing = response(200, None)
        table = dict.fromkeys(RESOURCES, nothing)
        with Provider(table) as provider:
            client = client_of(provider.url)
            assert client.natural_person(TOKEN) is client.residency(TOKEN) is client.id_verification(TOKEN) is None

    def test_a_missing_person_record_is_none(self):
        with Provider() as provider:
            client = client_of(provider.url)
            assert client.natural_person(TOKEN) is client.residency(TOKEN) is client.id_verification(TOKEN) is None

    def test_the_older_path_of_the_identity_check_is_tried_once(self):
        table = {"/api/v1/me/natural-person/id_verification": response(200, payload("id-verification.approved"))}
        with Provider(table) as provider:
            assert client_of(provider.url).id_verification(TOKEN).kind == "veriff"
            assert len(provider.requests) == 2

    @pytest.mark.parametrize("entity_id", ["../natural-person", "", "7", f"{ENTITY}/documents", None])
    def test_only_a_uuid_gets_into_a_path(self, entity_id):
        with Provider() as provider:
            error = error_of(lambda: client_of(provider.url).legal_entity(TOKEN, str(entity_id)))
            assert (type(error), error.code) == (NotFound, "not_a_uuid")
            assert provider.requests == []

    @pytest.mark.parametrize("token", ["", "with space", "with\r\nbreak", "é"])
    def test_a_token_that_cannot_be_one_is_not_sent(self, token):
        with Provider() as provider:
            error = error_of(lambda: client_of(provider.url).natural_person(token))
            assert (type(error), error.code) == (TokenRejected, "missing_token")
            assert provider.requests == []


class TestRefusals:
    @each_resource
    @pytest.mark.parametrize(
        ("answer", "kind", "code"),
        [
            (response(401, {"error": "missing_scopes: eprospera:entity.read"}), ScopeMissing, "missing_scopes"),
            (response(401, {"error": {"code": "missing_scopes"}}), ScopeMissing, "missing_scopes"),
            (response(401, {"error": "Sentence", "code": "missing_scopes"}), ScopeMissing, "missing_scopes"),
            (response(401, {"error": "invalid_token"}), TokenRejected, "invalid_token"),
            (response(401, {"error": "Some sentence with a canary"}), TokenRejected, "http_401"),
            (response(401, b"", WWW_Authenticate="Bearer"), TokenRejected, "http_401"),
            (response(403, {"error": "missing_scopes: eprospera:entity.read"}), ScopeMissing, "missing_scopes"),
            (response(403, {"error": {"message": "canary"}}), ScopeMissing, "http_403"),
            (response(400, {"error": "invalid_request"}), ClientRejected, "invalid_request"),
            (response(429, {"error": "invalid_request"}), ProviderUnavailable, "rate_limited"),
            (response(500, {"error": "Internal server error"}), ProviderUnavailable, "http_500"),
            (response(503, b"<html>canary"), ProviderUnavailable, "http_503"),
            (response(200, b"<html>canary"), MalformedAnswer, "not_json"),
            (response(200, ["canary"]), MalformedAnswer, "wrong_type"),
            (response(204), MalformedAnswer, "unexpected_status"),
            (response(302, b"", Location="/canary"), MalformedAnswer, "redirect"),
        ],
        ids=label,
    )
    def test_each_answer_says_what_can_be_done(self, path, ask, answer, kind, code):
        with Provider({path: answer}) as provider:
            error = error_of(lambda: ask(client_of(provider.url)))
        assert (type(error), error.code) == (kind, code)
        assert error.path == path.replace(str(ENTITY), "{id}")

    @each_resource
    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_page_of_some_gateway_is_not_the_providers_word(self, path, ask, status):
        page = response(status, b"<html>", "text/html")
        with Provider({path: page, "/api/v1/me/natural-person/id_verification": page}) as provider:
            error = error_of(lambda: ask(client_of(provider.url)))
        assert (type(error), error.code) == (MalformedAnswer, "not_json")

    @pytest.mark.parametrize("method", ["legal_entity", "legal_entity_documents"])
    def test_an_entity_no_longer_shared_is_not_found(self, method):
        with Provider() as provider:
            error = error_of(lambda: getattr(client_of(provider.url), method)(TOKEN, ENTITY))
        assert (type(error), error.code, error.status) == (NotFound, "not_found", 404)

    def test_an_account_that_is_gone_is_not_found(self):
        with Provider({"/api/oauth/userinfo": response(404, {"error": "user_not_found"})}) as provider:
            error = error_of(lambda: client_of(provider.url).userinfo(TOKEN))
        assert (type(error), error.code) == (NotFound, "user_not_found")

    def test_the_error_names_the_providers_request_and_its_wish(self):
        answer = response(429, {"error": "slow"}, X_Request_Id="req-7", Retry_After="60")
        with Provider({"/api/v1/me/natural-person": answer}) as provider:
            error = error_of(lambda: client_of(provider.url).natural_person(TOKEN))
        assert (error.request_id, error.retry_after) == ("req-7", 60.0)
        assert "request req-7" in str(error)

    def test_a_malformed_field_is_named(self):
        with Provider({"/api/v1/me/natural-person": response(200, {"address": {"line1": ["canary"]}})}) as provider:
            error = error_of(lambda: client_of(provider.url).natural_person(TOKEN))
        assert "GET /api/v1/me/natural-person: wrong_type, HTTP 200. address.line1 must be a string." in str(error)

    def test_a_passing_fault_is_asked_again(self):
        waiting = [response(503), response(429), response(200, None)]
        with Provider({"/api/v1/me/natural-person": lambda request: waiting.pop(0)}) as provider:
            assert client_of(provider.url).natural_person(TOKEN) is None
            assert len(provider.requests) == 3


class TestDiscovery:
    def test_it_is_asked_once_for_all_clients_of_a_process(self):
        with Provider() as provider:
            first = client_of(provider.url).discovery()
            assert client_of(provider.url + "/").discovery() is first
            assert first.issuer == provider.url
            assert len(provider.requests) == 1

    def test_a_failure_is_remembered_for_a_moment(self):
        waiting = [response(200, b"<html>")]
        with Provider() as provider:
            good = provider._discovery
            provider.table["/.well-known/openid-configuration"] = lambda request: waiting.pop() if waiting else good
            for _ in range(3):
                assert error_of(client_of(provider.url).discovery).code == "not_json"
            assert len(provider.requests) == 1
            forget_discovered()
            assert client_of(provider.url).discovery().issuer == provider.url

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"issuer": "https://evil.example"}, "wrong_issuer"),
            ({"issuer": None}, "missing"),
            ({"token_endpoint": None}, "missing"),
            ({"token_endpoint": "http://evil.example/token"}, "bad_url"),
            ({"token_endpoint": "ftp://127.0.0.1/token"}, "bad_url"),
            ({"userinfo_endpoint": "https://user:pass@evil.example/"}, "bad_url"),
            ({"jwks_uri": "/relative"}, "bad_url"),
            ({"revocation_endpoint": "http://evil.example/"}, "bad_url"),
            ({"revocation_endpoint": 7}, "wrong_type"),
            ({"introspection_endpoint": "http://evil.example/"}, "bad_url"),
        ],
    )
    def test_a_document_that_leads_elsewhere_is_refused(self, changes, code):
        with Provider(metadata_changes=changes) as provider:
            error = error_of(client_of(provider.url).discovery)
        assert (type(error), error.code) == (MalformedAnswer, code)

    def test_an_issuer_with_a_trailing_slash_is_another_issuer(self):
        with Peer(lambda talk: answers(metadata(peer.url, issuer=peer.url + "/"))(talk)) as peer:
            assert error_of(client_of(peer.url).discovery).code == "wrong_issuer"

    def test_older_documents_name_no_endpoints_of_revocation_and_introspection(self):
        with Provider(metadata_changes={"revocation_endpoint": None}) as provider:
            found = client_of(provider.url).discovery()
            assert found.revocation_endpoint == f"{provider.url}/api/oauth/revoke"
            assert found.introspection_endpoint == f"{provider.url}/api/oauth/introspect"

    @pytest.mark.parametrize(
        "url",
        [
            "http://portal.example",
            "portal.example",
            "",
            "https://",
            "https://a:b@portal.example",
            "https://portal.example/?x",
            "ftp://localhost",
        ],
    )
    def test_an_insecure_base_url_is_a_matter_of_settings(self, url):
        with pytest.raises(ConfigurationError, match="EPROSPERA_BASE_URL"):
            Client(url)

    def test_plain_http_endpoints_are_refused_where_the_base_is_https(self):
        document = json.loads(
            metadata("https://p.example", token_endpoint="http://127.0.0.1/t").partition(b"\r\n\r\n")[2]
        )
        with pytest.raises(MalformedAnswer, match="token_endpoint"):
            Discovery.from_json(document, "https://p.example")


def token_provider(answer, **kwargs):
    return Provider({"/api/oauth/token": answer}, **kwargs)


def refresh(provider, **kwargs):
    return client_of(provider.url, **kwargs).refresh(REFRESH)


class TestRefresh:
    def test_tokens_come_back(self):
        with token_provider(response(200, TOKENS)) as provider:
            tokens = refresh(provider)
        assert (tokens.access_token, tokens.refresh_token) == ("new", "rt_new")
        assert tokens.expires_at - tokens.asked_at == timedelta(hours=1)

    def test_basic_encodes_id_and_secret_and_leaves_them_out_of_the_body(self):
        with token_provider(response(200, TOKENS)) as provider:
            refresh(provider)
            (request,) = provider.asked("/api/oauth/token")
        scheme, _, value = request.headers["authorization"].partition(" ")
        pair = base64.b64decode(value).decode().split(":")
        assert scheme == "Basic"
        assert [urllib.parse.unquote_plus(part) for part in pair] == ["my client", CLIENT_SECRET]
        assert request.form == [("grant_type", "refresh_token"), ("refresh_token", REFRESH)]

    def test_post_puts_id_and_secret_into_the_body_and_sends_no_header(self):
        with token_provider(response(200, TOKENS)) as provider:
            refresh(provider, auth_method="client_secret_post")
            (request,) = provider.asked("/api/oauth/token")
        assert "authorization" not in request.headers
        assert request.form == [
            ("grant_type", "refresh_token"),
            ("refresh_token", REFRESH),
            ("client_id", "my client"),
            ("client_secret", CLIENT_SECRET),
        ]

    def test_a_narrower_scope_can_be_asked_for(self):
        with token_provider(response(200, TOKENS)) as provider:
            client_of(provider.url).refresh(REFRESH, scope="openid email")
            assert ("scope", "openid email") in provider.asked("/api/oauth/token")[0].form

    @pytest.mark.parametrize(
        ("answer", "kind", "code"),
        [
            (response(400, {"error": "invalid_grant", "error_description": "canary"}), InvalidGrant, "invalid_grant"),
            (response(401, {"error": "invalid_client"}), ClientRejected, "invalid_client"),
            (response(401, b""), ClientRejected, "http_401"),
            (response(400, {"error": "invalid_request"}), ClientRejected, "invalid_request"),
            (response(400, {"error": "unauthorized_client"}), ClientRejected, "unauthorized_client"),
            (response(429, {"error": "invalid_request"}), ProviderUnavailable, "rate_limited"),
            (response(429, {"error": "invalid_grant"}), ProviderUnavailable, "rate_limited"),
            (response(500, {"error": "invalid_grant"}), ProviderUnavailable, "invalid_grant"),
            (response(503, b"<html>"), ProviderUnavailable, "http_503"),
            (response(400, {"error": "temporarily_unavailable"}), ProviderUnavailable, "temporarily_unavailable"),
            (response(404, b"<html>canary"), MalformedAnswer, "not_an_oauth_error"),
            (response(400, {"error": "canary"}), MalformedAnswer, "not_an_oauth_error"),
            (response(400, ["invalid_grant"]), MalformedAnswer, "not_an_oauth_error"),
            (response(302, b"", Location="/canary"), MalformedAnswer, "redirect"),
            (response(200, b"<html>canary"), AnswerLost, "not_json"),
            (response(200, {}), AnswerLost, "missing"),
            (response(200, [TOKENS]), AnswerLost, "wrong_type"),
            (response(200, {**TOKENS, "token_type": "mac"}), AnswerLost, "wrong_format"),
            (response(200, b"{}", Content_Encoding="gzip"), AnswerLost, "encoded"),
            (response(200, b" " * 2_000_000), AnswerLost, "too_large"),
            (response(204), AnswerLost, "unexpected_status"),
        ],
        ids=label,
    )
    def test_each_answer_says_whether_the_token_may_be_spent(self, answer, kind, code):
        with token_provider(answer) as provider:
            error = error_of(lambda: refresh(provider))
            assert (type(error), error.code) == (kind, code)
            assert (error.method, error.path) == ("POST", "/api/oauth/token")
            assert len(provider.asked("/api/oauth/token")) == 1

    @pytest.mark.parametrize("behaviour", [peers.closes_unanswered, peers.resets, peers.truncates_body, peers.not_http])
    def test_a_lost_answer_is_never_asked_for_again(self, behaviour):
        with Peer(behaviour) as broken, Provider(metadata_changes={"token_endpoint": broken.url + "/t"}) as provider:
            assert type(error_of(lambda: refresh(provider))) is AnswerLost
            assert len(broken.requests) == 1

    def test_a_failure_to_connect_spends_nothing(self):
        endpoint = f"http://127.0.0.1:{free_port()}/t"
        with Provider(metadata_changes={"token_endpoint": endpoint}) as provider:
            error = error_of(lambda: refresh(provider))
        assert (type(error), error.code) == (ProviderUnavailable, "connect_failed")

    @pytest.mark.parametrize("behaviour", [peers.closes_unanswered, peers.html, answers(response(404))])
    def test_a_failing_discovery_spends_nothing_and_does_not_look_as_if_it_had(self, behaviour):
        with Peer(behaviour) as peer:
            assert type(error_of(lambda: refresh(peer))) is ProviderUnavailable
            assert {request.method for request in peer.requests} == {"GET"}

    @pytest.mark.parametrize("half", [{"client_id": ""}, {"client_secret": ""}])
    def test_an_empty_id_or_secret_is_a_matter_of_settings(self, half):
        with Provider() as provider:
            client = Client(provider.url, **{"client_id": "a", "client_secret": "b", **half})
            with pytest.raises(ConfigurationError, match="SOCIAL_AUTH_EPROSPERA_SECRET"):
                client.refresh(REFRESH)
            assert {request.method for request in provider.requests} == {"GET"}

    def test_an_unknown_method_is_a_matter_of_settings(self):
        with pytest.raises(ConfigurationError, match="client_secret_basic, client_secret_post"):
            Client("https://p.example", auth_method="private_key_jwt")


class TestRevoke:
    def test_the_token_is_given_back_with_its_kind(self):
        with Provider({"/api/oauth/revoke": response(200, b"")}) as provider:
            client_of(provider.url).revoke(REFRESH, "refresh_token")
            (request,) = provider.asked("/api/oauth/revoke")
        assert request.method == "POST"
        assert request.form == [("token", REFRESH), ("token_type_hint", "refresh_token")]
        assert request.headers["authorization"].startswith("Basic ")

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (response(401, {"error": "invalid_client"}), ClientRejected),
            (response(400, {"error": "invalid_request"}), ClientRejected),
            (response(429, {"error": "invalid_request"}), ProviderUnavailable),
            (response(503), ProviderUnavailable),
            (response(404, b"<html>"), MalformedAnswer),
        ],
        ids=label,
    )
    def test_refusals_say_what_can_be_done(self, answer, kind):
        with Provider({"/api/oauth/revoke": answer}) as provider:
            assert type(error_of(lambda: client_of(provider.url).revoke(TOKEN, "access_token"))) is kind


class TestIntrospect:
    @pytest.mark.parametrize("active", [True, False])
    def test_the_provider_is_asked_whether_a_token_is_good(self, active):
        with Provider({"/api/oauth/introspect": response(200, {"active": active})}) as provider:
            assert client_of(provider.url).is_active(REFRESH, "refresh_token") is active
            (request,) = provider.asked("/api/oauth/introspect")
        assert request.method == "POST"
        assert request.form == [("token", REFRESH), ("token_type_hint", "refresh_token")]
        assert request.headers["authorization"].startswith("Basic ")

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (response(200, {}), MalformedAnswer),
            (response(200, {"active": "false"}), MalformedAnswer),
            (response(200, b"<html>"), MalformedAnswer),
            (response(401, {"error": "invalid_client"}), ClientRejected),
            (response(429, {"error": "invalid_request"}), ProviderUnavailable),
            (response(404, b"<html>"), MalformedAnswer),
        ],
        ids=label,
    )
    def test_nothing_but_true_and_false_is_an_answer(self, answer, kind):
        with Provider({"/api/oauth/introspect": answer}) as provider:
            assert type(error_of(lambda: client_of(provider.url).is_active(REFRESH))) is kind


def test_printing_a_client_shows_no_secret():
    client = client_of("https://p.example")
    assert repr(client) == "<Client of https://p.example>"
    assert "canary" not in repr(vars(client))
    assert "canary" not in repr(grants.Credentials("id", CLIENT_SECRET))
