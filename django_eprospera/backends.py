"""Sign in with e-Próspera: the authentication backend, on python-social-auth's OpenID Connect base.

The base keeps the state of a sign-in and runs the pipeline. `sign_in` decides who somebody is: `pending` (what a sign-in
keeps until its callback), `callback`, `code_flow`; `social_backend` overrides what else the base offers. Every error becomes a
page, and nothing is stored in part.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from django.contrib.auth import REDIRECT_FIELD_NAME, get_user_model
from django.core.exceptions import BadRequest
from django.db import router, transaction
from django.http import HttpResponseRedirect
from django.urls import reverse
from social_core.exceptions import AuthConfigurationError
from social_core.utils import PARTIAL_TOKEN_SESSION_NAME
from social_django.models import UserSocialAuth
from social_django.views import NAMESPACE

from django_eprospera import tokens
from django_eprospera.conf import conf
from django_eprospera.decorators import ask_to_authenticate
from django_eprospera.errors import SignInRefused
from django_eprospera.models import Connection
from django_eprospera.provider.tracebacks import forget_locals
from django_eprospera.sign_in.association import uid_of
from django_eprospera.sign_in.callback import Callback, take_query
from django_eprospera.sign_in.code_flow import Deadline, Proof, prove
from django_eprospera.sign_in.errors import CAUGHT, Again, error_page
from django_eprospera.sign_in.next_url import safe_next
from django_eprospera.sign_in.pending import PendingSignIn
from django_eprospera.sign_in.recent import has_recent_authentication, note_authentication, note_sign_in
from django_eprospera.sign_in.sealed_grant import GRANT, seal_grant
from django_eprospera.sign_in.social_backend import SocialBackend
from django_eprospera.sign_in.user_details import creating_users

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    from django_eprospera.provider.id_token import IdToken

__all__ = ["EprosperaOpenIdConnect"]

_STEP: Final = "django_eprospera.pipeline.store_connection"
# An e-mail address never joins an identity to an account, whatever a site's pipeline does for other providers.
_DROPPED_STEPS: Final = frozenset({"social_core.pipeline.social_auth.associate_by_email"})
# Anybody can begin a sign-in, so that it must not hold a worker for long when the provider does not answer: seconds for the
# one request that fetches the discovery document, and seconds after its start in which others wait for it.
_BEGIN_DEADLINE: Final = 5.0
_BEGIN_PATIENCE: Final = 1.0
_PROMPTS: Final = frozenset({"login", "consent"})


class EprosperaOpenIdConnect(SocialBackend):
    """`django_eprospera.backends.EprosperaOpenIdConnect` in AUTHENTICATION_BACKENDS; python-social-auth's `eprospera`."""

    def __init__(self, strategy: Any = None, redirect_uri: str | None = None) -> None:
        """Called by python-social-auth for each request, and by Django to look for users."""
        request = getattr(strategy, "request", None)
        if request is not None:
            take_query(request)  # before the base copies it
        super().__init__(strategy, redirect_uri=redirect_uri)
        self._pending: PendingSignIn | None = None
        self._id_token: IdToken | None = None
        self._proves_identity = False
        self._stage = "begin"
        if request is not None and any(
            "\0" in value for data in (take_query(request), request.POST) for value in data.values()
        ):
            # python-social-auth looks parameters up in the database, and PostgreSQL accepts no NUL.
            raise BadRequest("A parameter holds a NUL character.")

    # Begin

    @forget_locals
    def start(self) -> HttpResponse:
        """Return a redirect to the provider, or the page of an error."""
        response: HttpResponse = self._guarded(self._begin)
        return response

    def _begin(self) -> HttpResponse:
        posted, user = self._request.POST, self._request.user
        if user.is_authenticated and not has_recent_authentication(self._request) and not self._is_linked(user):
            return ask_to_authenticate(self._request)
        prompt, max_age = posted.get("prompt", ""), posted.get("max_age", "")
        self._pending = PendingSignIn(
            user_id=str(user.pk) if user.is_authenticated else "",
            next=self._take_next(),
            prompt=prompt if prompt in _PROMPTS else "",
            max_age=int(max_age) if max_age.isascii() and max_age.isdigit() and len(max_age) < 10 else None,
        )
        if paused := self.strategy.session_get(PARTIAL_TOKEN_SESSION_NAME):
            # Otherwise the callback of this sign-in would resume that earlier one.
            self.strategy.clean_partial_pipeline(paused)
        deadline = Deadline(min(_BEGIN_DEADLINE, conf.EPROSPERA_DEADLINE))
        endpoint = deadline.client().discovery(patience=_BEGIN_PATIENCE).authorization_endpoint
        state = self.get_or_create_state()
        self.keep_for_state(state, self._pending.seal(state))
        return HttpResponseRedirect(self._authorization_url(endpoint, state, self._pending))

    def _take_next(self) -> str:
        """The URL to return to. The base stored it in the session, where every other sign-in of this browser would use it."""
        kept = self.strategy.session_pop(REDIRECT_FIELD_NAME)
        allowed = self.setting("ALLOWED_REDIRECT_HOSTS", [])
        return safe_next(self._request, kept or "", *allowed) if REDIRECT_FIELD_NAME in self._request.POST else ""

    def _authorization_url(self, endpoint: str, state: str, begun: PendingSignIn) -> str:
        parameters = {
            **self.auth_extra_arguments(),
            "response_type": "code",
            "client_id": conf.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.get_scope()),
            "state": state,
            "nonce": begun.nonce,
            "code_challenge": begun.code_challenge,
            "code_challenge_method": "S256",
        }
        if begun.prompt:
            parameters["prompt"] = begun.prompt
        if begun.max_age is not None:
            parameters["max_age"] = str(begun.max_age)
        address, _, query = endpoint.partition("?")
        own = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in parameters]
        return f"{address}?{urlencode([*own, *parameters.items()])}"

    # Return

    @forget_locals
    def complete(self, *args: Any, **kwargs: Any) -> Any:
        """Return the user of a callback, or the page of an error."""
        self._stage = "callback"
        return self._guarded(partial(self.auth_complete, *args, **kwargs))

    def auth_complete(self, *_: Any, **kwargs: Any) -> Any:
        """Verify the callback, then run the pipeline. Raises the errors in `sign_in.errors.CAUGHT`."""
        callback = Callback.read(take_query(self._request))
        self.data = {"state": callback.state}
        state = self.validate_state()  # after this the state is spent
        begun = self._pending = PendingSignIn.open(state, self.kept_for_state())
        deadline = Deadline()
        document = deadline.client().discovery()
        callback.check_issuer(document.issuer, required=document.authorization_response_iss_parameter_supported)
        code = callback.usable_code()
        user_id = self._current_user_id()
        if user_id != begun.user_id and begun.user_id:
            raise SignInRefused("user_mismatch", "callback")
        proof = prove(
            code,
            redirect_uri=self.redirect_uri,
            code_verifier=begun.code_verifier,
            nonce=begun.nonce,
            deadline=deadline,
        )
        begun.check_fresh(proof.id_token.auth_time, skew=conf.EPROSPERA_CLOCK_SKEW.total_seconds())
        if user_id != begun.user_id and not self._is_known(proof.id_token.issuer, proof.id_token.sub, user_id):
            # Started by an anonymous user who signed in meanwhile: it must not link an identity to that account.
            raise SignInRefused("user_mismatch", "callback")
        if begun.next:
            self.strategy.session_set(REDIRECT_FIELD_NAME, begun.next)
        else:
            self.strategy.session_pop(REDIRECT_FIELD_NAME)
        return self._finish(self.strategy.authenticate(self, **{**kwargs, "response": self._response(proof)}))

    def _response(self, proof: Proof) -> dict[str, Any]:
        """Return what the pipeline gets: the claims, and the sealed grant. No token in plain text."""
        token, tokens = proof.id_token, proof.tokens
        self.id_token = {"iss": token.issuer, "sub": token.sub, "iat": token.issued_at, "auth_time": token.auth_time}
        # The verified ID token is not stored; an answer that names no scope granted the requested one.
        scope = " ".join(self.get_scope()) if tokens.scope is None else tokens.scope
        return {**asdict(proof.userinfo), GRANT: seal_grant(replace(tokens, scope=scope, id_token=None), token)}

    def _is_known(self, issuer: str, sub: str, user_id: str) -> bool:
        known = UserSocialAuth.get_social_auth(self.name, uid_of(issuer, sub))
        return known is not None and str(known.user_id) == user_id

    def _is_linked(self, user: Any) -> bool:
        return bool(UserSocialAuth.objects.filter(user=user, provider=self.name).exists())

    def require_recent_authentication(self) -> bool:
        """Called by `store_connection` for an identity that it links to an existing account. Returns whether the user of
        this session has just authenticated; False without one, when a step of the site's pipeline chose the account.

        Raises SignInRefused when the session's authentication is not recent. It had to be recent when this sign-in began.
        """
        if not self._request.user.is_authenticated:
            return False
        if not has_recent_authentication(self._request, at=self._pending.started if self._pending else None):
            raise SignInRefused("not_proven", "pipeline")
        return True

    def pipeline(self, pipeline: list[str], pipeline_index: int = 0, *args: Any, **kwargs: Any) -> Any:
        """Run the site's pipeline and our step in one transaction, so that a failure stores nothing."""
        self._stage = "pipeline"
        steps = [step for step in pipeline if step not in _DROPPED_STEPS]
        steps += [] if _STEP in steps else [_STEP]
        with transaction.atomic(using=router.db_for_write(Connection)), creating_users():
            outcome = super().pipeline(steps, pipeline_index, *args, **kwargs)
            if isinstance(outcome, get_user_model()) and getattr(outcome, "social_user", None) is None:
                raise AuthConfigurationError(self, parameter="PIPELINE", stage="pipeline")
            return outcome

    @forget_locals
    def continue_pipeline(self, partial: Any) -> Any:
        """Resume a paused pipeline. Returns what `complete` returns."""
        self._stage = "pipeline"
        resume = super().continue_pipeline

        def go_on() -> Any:
            if not partial.kwargs:
                raise SignInRefused("session_context_missing", "pipeline")
            return self._finish(resume(partial))

        return self._guarded(go_on)

    def signed_in(self, id_token: IdToken, *, proves_identity: bool) -> None:
        """Called by `store_connection` when the connection is stored."""
        self._id_token, self._proves_identity = id_token, proves_identity

    def _finish(self, outcome: Any) -> Any:
        if outcome is None:
            raise SignInRefused("authentication_disallowed", "pipeline")
        request, id_token = self._request, self._id_token
        if id_token is not None and isinstance(outcome, get_user_model()):
            # For `receivers`, which note it when Django has signed the user in and renewed the session.
            request.eprospera_sign_in = id_token.auth_time, self._proves_identity  # type: ignore[attr-defined]
            if request.user.is_authenticated:
                request.session.cycle_key()
                if self._proves_identity:
                    note_sign_in(request, id_token.auth_time)
                    note_authentication(request, id_token.auth_time)
        return outcome

    # Disconnect

    @forget_locals
    def disconnect(self, *args: Any, **kwargs: Any) -> Any:
        """Disconnect as python-social-auth does, and end the connection: erased here, revoked at the provider.

        A user whose session did not authenticate recently is asked to prove who they are first.
        """
        self._stage = "disconnect"
        if self.strategy.request is not None and not has_recent_authentication(self._request):
            return ask_to_authenticate(self._request)
        return self._guarded(partial(self._disconnect, *args, **kwargs))

    def _disconnect(self, *args: Any, user: Any, **kwargs: Any) -> Any:
        with transaction.atomic(using=router.db_for_write(Connection)):
            outcome = super().disconnect(*args, user=user, **kwargs)
            connection = Connection.objects.filter(user=user).first()
            if (
                connection is not None
                and isinstance(outcome, dict)
                and not self._is_known(connection.issuer, connection.sub, str(user.pk))
            ):
                tokens.disconnect(connection, actor=user)
        return outcome

    # Errors

    @property
    def _request(self) -> HttpRequest:
        request = self.strategy.request
        assert request is not None
        return request  # type: ignore[no-any-return]

    def _current_user_id(self) -> str:
        return str(self._request.user.pk) if self._request.user.is_authenticated else ""

    def _guarded(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except CAUGHT as error:
            if self.strategy.request is None:
                raise
            return error_page(self._request, error, stage=self._stage, again=self._again())

    def _again(self) -> Again | None:
        if self._stage == "disconnect":
            return None
        begun = self._pending or PendingSignIn()
        action = reverse(f"{NAMESPACE}:begin", args=[self.name])
        return Again(action, begun.next, begun.prompt, begun.max_age)
