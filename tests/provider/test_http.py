"""HTTP requests to peers that misbehave, over real sockets."""

import contextlib
import io
import logging
import os
import signal
import socket
import threading
import time
import traceback

import pytest

from django_eprospera.errors import AnswerLost, ApiError, MalformedAnswer, ProviderUnavailable
from django_eprospera.provider.http import Limits, Retries, call, get_with_retries, is_loopback, parse, stream_to
from django_eprospera.provider.transport import open_session
from tests import peers
from tests.peers import Peer, answers, free_port, response

# Its names and proxies belong to nobody.
pytestmark = pytest.mark.eprospera_provider

SECRET = "s3cr3t-canary"
QUICK = Limits(connect_timeout=1.0, read_timeout=1.0, deadline=1.0, max_bytes=10_000)
PATIENT = Limits(connect_timeout=5.0, read_timeout=20.0, deadline=20.0, max_bytes=10_000)
# A peer that would hold a caller for minutes is left within the deadline and this much for a slow machine.
SLACK = 5.0


def ask(peer, method="GET", limits=PATIENT, **kwargs):
    return call(
        method, f"{peer.url}/x?sig={SECRET}", limits=limits, path_template="/x", auth=f"Bearer {SECRET}", **kwargs
    )


def refused(peer, method="GET", limits=PATIENT, **kwargs):
    """The error of a call, once it is clear that it tells no secret."""
    with pytest.raises(ApiError) as caught:
        ask(peer, method, limits, **kwargs)
    assert_tells_nothing(caught.value)
    return caught.value


def assert_tells_nothing(error):
    seen, todo = set(), [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        todo += [one.__cause__, one.__context__]
        assert SECRET not in repr(one) + str(one) + "".join(traceback.format_exception(one))
        # What Django's error page shows with DEBUG: the variables of every frame but this test's own.
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                assert SECRET not in repr(frame.f_locals)


class TestAnswers:
    def test_an_answer_of_any_status_is_handed_back_whole(self):
        with Peer(answers(response(418, {"a": 1}, X_Request_Id="req-1"))) as peer:
            answer = ask(peer)
        assert (answer.status, answer.json(), answer.request_id) == (418, {"a": 1}, "req-1")
        assert answer.headers["x-REQUEST-id"] == "req-1"

    def test_the_request_says_who_asks_and_wants_json_uncompressed(self):
        with Peer(answers(response())) as peer:
            ask(peer)
        headers = peer.requests[0].headers
        assert peer.requests[0].target == f"/x?sig={SECRET}"
        assert headers["user-agent"].startswith("django-eprospera")
        assert headers["accept"] == "application/json"
        assert headers["accept-encoding"] == "identity"
        assert headers["authorization"] == f"Bearer {SECRET}"

    def test_a_form_is_sent_once_as_a_form(self):
        with Peer(answers(response())) as peer:
            ask(peer, "POST", form={"grant_type": "refresh_token", "t": "a+b é"})
        assert peer.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"
        assert peer.requests[0].form == [("grant_type", "refresh_token"), ("t", "a+b é")]

    def test_cookies_are_not_kept(self):
        session = open_session()
        with Peer(answers(response(Set_Cookie="track=1; Path=/"))) as peer:
            ask(peer, session=session)
            ask(peer, session=session)
        assert len(peer.requests) == 2
        assert "cookie" not in peer.requests[1].headers
        assert list(session.cookies) == []

    def test_chunked_bodies_are_put_together(self):
        def chunked(talk):
            talk.request()
            talk.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n')

        with Peer(chunked) as peer:
            assert ask(peer).json() == {"a": 1}

    @pytest.mark.parametrize(
        "body",
        [b"<html>", b"", b"{", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b"1" * 5000],
        ids=["html", "empty", "cut", "nan", "not utf-8", "deep", "long number"],
    )
    def test_a_body_that_is_not_json_is_malformed(self, body):
        with Peer(answers(response(200, body))) as peer:
            answer = ask(peer, limits=Limits())
        with pytest.raises(MalformedAnswer) as caught:
            answer.json()
        assert caught.value.code == "not_json"
        assert caught.value.__context__ is None

    def test_an_unprintable_request_id_is_left_out(self):
        with Peer(answers(response(200, {}, X_Request_Id="<script>"))) as peer:
            assert ask(peer).request_id == ""

    def test_an_answer_hides_its_body_and_headers(self):
        with Peer(answers(response(200, {"name": SECRET}, X_Name=SECRET))) as peer:
            assert SECRET not in repr(ask(peer))

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("7", 7.0),
            ("99999999", 3600.0),
            ("Fri, 01 Jan 2010 00:00:00 GMT", 0.0),
            ("Wed, 01 Jan 2110 00:00:00 GMT", 3600.0),
            ("-3", None),
            ("soon", None),
            ("", None),
        ],
    )
    def test_retry_after_is_read_in_both_forms_and_capped(self, value, seconds):
        with Peer(answers(response(429, {}, Retry_After=value))) as peer:
            assert ask(peer).retry_after == seconds


class TestKeep:
    """`keep` gets the bytes of a good answer as they arrive, and `parse` makes of them what `call` returned."""

    @pytest.mark.parametrize("headers", [{}, {"X_Long": "a" * 9_000}], ids=["one read", "several reads"])
    def test_what_was_kept_last_is_the_whole_answer(self, headers):
        kept = []
        with Peer(answers(response(200, {"a": 1}, X_Request_Id="req-1", **headers))) as peer:
            answer = ask(peer, "POST", keep=kept.append)
        found = parse("POST", "/x", kept[-1])
        assert (found.status, found.body, found.request_id) == (200, answer.body, "req-1")

    @pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n", b""], ids=["chunks", "until it closes"])
    def test_an_answer_without_a_length_is_kept_too(self, head):
        body = b'4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n' if head else b'{"a":1}'

        def behaviour(talk):
            talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)

        kept = []
        with Peer(behaviour) as peer:
            ask(peer, "POST", keep=kept.append)
        assert parse("POST", "/x", kept[-1]).json() == {"a": 1}

    @pytest.mark.parametrize(
        "answer", [response(400, {"error": "invalid_grant"}), response(200, b""), response(201, {"a": 1})]
    )
    def test_nothing_else_is_kept(self, answer):
        kept = []
        with Peer(answers(answer)) as peer:
            ask(peer, "POST", keep=kept.append)
        assert kept == []

    def test_what_is_kept_is_bounded(self):
        kept, limits = [], Limits(max_bytes=1_000_000)
        with Peer(answers(response(200, b"[" + b" " * 500_000 + b"]"))) as peer:
            ask(peer, "POST", limits, keep=kept.append)
        assert 0 < max(map(len, kept)) <= 64 * 1024

    @pytest.mark.parametrize("size", [0, 10, 40, -1])
    def test_what_did_not_arrive_whole_is_malformed(self, size):
        with pytest.raises(MalformedAnswer) as caught:
            parse("POST", "/x", response(200, {"a": SECRET})[:size]).json()
        assert_tells_nothing(caught.value)

    def test_an_interruption_after_the_arrival_tells_nothing(self):
        class Interrupted(BaseException):
            pass

        def interrupt(*_):
            raise Interrupted

        def never_ends(talk):
            talk.request()
            talk.send(b'HTTP/1.1 200 OK\r\n\r\n{"a": "' + SECRET.encode() + b'"}')
            talk.wait()

        kept = []

        def keep(raw):
            kept.append(raw)
            signal.setitimer(signal.ITIMER_REAL, 0.01)

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with Peer(never_ends) as peer, pytest.raises(Interrupted) as caught:
                ask(peer, "POST", keep=keep)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert_tells_nothing(caught.value)
        assert parse("POST", "/x", kept[-1]).json() == {"a": SECRET}


class TestDeadline:
    @pytest.mark.parametrize(
        "behaviour",
        [peers.silent, peers.drips_headers, peers.drips_body, peers.drips_chunks, peers.continues_for_ever],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_slow_peer_is_left_at_the_deadline(self, behaviour, method):
        limits = Limits(connect_timeout=1.0, read_timeout=60.0, deadline=1.0)
        started = time.monotonic()
        with Peer(behaviour) as peer:
            error = refused(peer, method, limits)
            assert time.monotonic() - started < limits.deadline + SLACK
            assert type(error) is AnswerLost
            assert error.code == "timeout"
            assert len(peer.requests) == 1

    def test_a_peer_silent_for_longer_than_the_read_timeout_is_left_before_the_deadline(self):
        limits = Limits(connect_timeout=1.0, read_timeout=0.5, deadline=600.0)
        started = time.monotonic()
        with Peer(peers.silent) as peer:
            assert refused(peer, limits=limits).code == "timeout"
        assert time.monotonic() - started < limits.read_timeout + SLACK

    def test_a_deadline_is_kept_under_tls_too(self, tmp_path):
        certificate = peers.make_certificate(tmp_path / "peer.pem")
        limits = Limits(connect_timeout=5.0, read_timeout=60.0, deadline=1.5)
        started = time.monotonic()
        with Peer(peers.drips_body, certificate=certificate) as peer:
            error = refused(peer, limits=limits, session=open_session(certificate))
        assert time.monotonic() - started < limits.deadline + SLACK
        assert (type(error), error.code) == (AnswerLost, "timeout")

    def test_a_tls_handshake_that_never_ends_is_left_and_nothing_was_sent(self):
        limits = Limits(connect_timeout=60.0, read_timeout=60.0, deadline=1.0)
        started = time.monotonic()
        with Peer(lambda talk: talk.wait()) as peer:
            peer.url = peer.url.replace("http:", "https:")
            error = refused(peer, "POST", limits)
        assert time.monotonic() - started < limits.deadline + SLACK
        assert type(error) is ProviderUnavailable

    def test_a_peer_that_does_not_take_the_request_is_left(self):
        limits = Limits(connect_timeout=1.0, read_timeout=60.0, deadline=1.0)
        started = time.monotonic()
        with Peer(lambda talk: talk.wait()) as peer:
            error = refused(peer, "POST", limits, form={"filler": "x" * 50_000_000})
        assert time.monotonic() - started < limits.deadline + SLACK
        assert (type(error), error.code) == (AnswerLost, "timeout")


class TestSize:
    @pytest.mark.parametrize(
        "behaviour",
        [peers.huge_unannounced, peers.huge_chunked, peers.huge_trailers, peers.huge_headers],
    )
    def test_a_flood_is_cut_off(self, behaviour):
        with Peer(behaviour) as peer:
            error = refused(peer)
        assert (type(error), error.code) == (MalformedAnswer, "too_large")

    def test_an_announced_flood_is_not_even_read(self):
        def announces(talk):
            talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n")
            talk.wait()

        with Peer(announces) as peer:
            assert refused(peer).code == "too_large"

    def test_a_gzip_bomb_is_not_opened(self):
        with Peer(peers.gzip_bomb) as peer:
            error = refused(peer, limits=Limits())
        assert (type(error), error.code, error.status) == (MalformedAnswer, "encoded", 200)

    @pytest.mark.parametrize("announced", [True, False])
    def test_the_limit_is_exact(self, announced):
        def sized(talk):
            talk.request()
            body = b"x" * (9_999 + talk.number)
            talk.send(response(200, body) if announced else b"HTTP/1.1 200 OK\r\n\r\n" + body)

        with Peer(sized) as peer:
            assert len(ask(peer).body) == 10_000
            assert refused(peer).code == "too_large"

    def test_a_redirect_is_neither_followed_nor_read(self):
        def redirects(talk):
            talk.request()
            talk.send(f"HTTP/1.1 302 Found\r\nLocation: {peer.url}/y?t={SECRET}\r\nContent-Length: 9\r\n\r\n".encode())
            talk.wait()  # its body never comes

        with Peer(redirects) as peer:
            error = refused(peer)
        assert (type(error), error.code, error.status) == (MalformedAnswer, "redirect", 302)
        assert len(peer.requests) == 1


class TestFailures:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_nobody_listening_means_that_nothing_was_sent(self, method):
        with pytest.raises(ProviderUnavailable) as caught:
            call(method, f"http://127.0.0.1:{free_port()}/?s={SECRET}", limits=QUICK, path_template="/x", auth=SECRET)
        assert (type(caught.value), caught.value.code) == (ProviderUnavailable, "connect_failed")
        assert_tells_nothing(caught.value)

    @pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 70 + ".example"])
    def test_a_name_that_does_not_resolve_means_that_nothing_was_sent(self, host):
        with pytest.raises(ProviderUnavailable) as caught:
            call("POST", f"https://{host}/?s={SECRET}", limits=PATIENT, path_template="/x", auth=SECRET)
        assert type(caught.value) is ProviderUnavailable
        assert_tells_nothing(caught.value)

    def test_an_untrusted_certificate_means_that_nothing_was_sent(self, tmp_path):
        certificate = peers.make_certificate(tmp_path / "peer.pem")
        with Peer(answers(response()), certificate=certificate) as peer:
            error = refused(peer, "POST")
            assert (type(error), error.code) == (ProviderUnavailable, "tls_failed")
            assert peer.requests == []

    def test_a_certificate_for_another_name_is_refused(self, tmp_path):
        certificate = peers.make_certificate(tmp_path / "peer.pem", "other.example")
        with Peer(answers(response()), certificate=certificate) as peer:
            assert refused(peer, session=open_session(certificate)).code == "tls_failed"
            assert peer.requests == []

    def test_a_trusted_certificate_is_accepted(self, tmp_path):
        certificate = peers.make_certificate(tmp_path / "peer.pem")
        with Peer(answers(response(200, {"a": 1})), certificate=certificate) as peer:
            session = open_session(certificate)
            assert ask(peer, session=session).json() == {"a": 1}
            assert ask(peer, session=session).json() == {"a": 1}
            assert peer.connections == 1

    @pytest.mark.parametrize(
        "behaviour", [peers.closes_unanswered, peers.resets, peers.resets_in_body, peers.truncates_body, peers.not_http]
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_an_answer_that_does_not_come_whole_is_lost(self, behaviour, method):
        with Peer(behaviour) as peer:
            error = refused(peer, method)
            assert (type(error), error.code) == (AnswerLost, "connection_lost")
            assert len(peer.requests) == 1

    def test_what_cannot_be_sent_is_a_mistake_of_the_caller_and_is_not_quoted(self):
        with pytest.raises(ValueError, match="not well formed") as caught:
            call("GET", "http://127.0.0.1:1/", limits=QUICK, path_template="/x", auth=f"Bearer {SECRET}\r\nX-Evil: 1")
        assert_tells_nothing(caught.value)

    def test_logs_at_every_level_tell_no_secret(self, caplog):
        caplog.set_level(logging.DEBUG)
        with Peer(answers(response(200, {}), response(503))) as peer:
            ask(peer)
            ask(peer, "POST", form={"token": SECRET})
        with Peer(peers.resets) as peer:
            refused(peer)
        assert "GET /x: HTTP 200" in caplog.text
        assert "GET /x: connection_lost" in caplog.text
        assert SECRET not in caplog.text


class TestConnections:
    def test_a_connection_is_used_again(self):
        with Peer(answers(response())) as peer:
            ask(peer)
            ask(peer)
            assert peer.connections == 1

    def test_a_post_never_goes_on_a_connection_that_was_used_before(self):
        with Peer(answers(response())) as peer:
            ask(peer)
            ask(peer, "POST")
            assert peer.connections == 2

    def test_a_get_on_a_connection_that_the_peer_just_gave_up_is_asked_again(self):
        def one_each(talk):
            talk.request()
            talk.send(response(200, {"connection": talk.number}))
            if talk.number == 1:
                talk.request()  # and closes without a word: what an idle time-out looks like when a request crosses it

        with Peer(one_each) as peer:
            assert ask(peer).json() == {"connection": 1}
            assert ask(peer).json() == {"connection": 2}
            assert len(peer.requests) == 3

    def test_a_connection_with_an_answer_half_read_is_not_used_again(self):
        with Peer(answers(response(200, b"x" * 10_001), response(200, {"a": 1}))) as peer:
            refused(peer)
            assert ask(peer).json() == {"a": 1}
            assert peer.connections == 2

    def test_threads_share_the_pool_and_get_their_own_answers(self):
        def echo(talk):
            while (request := talk.request()) is not None:
                talk.send(response(200, {"target": request.target}))

        wrong = []

        def worker(peer, name):
            for n in range(20):
                target = f"/{name}/{n}"
                answer = call("GET", peer.url + target, limits=PATIENT, path_template="/x")
                if answer.json() != {"target": target}:
                    wrong.append(target)

        with Peer(echo) as peer:
            threads = [threading.Thread(target=worker, args=(peer, name)) for name in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert len(peer.requests) == 160
        assert wrong == []

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking with threads, on newer Pythons
    def test_a_forked_child_does_not_use_the_parents_connections(self):
        with Peer(answers(response())) as peer:
            ask(peer)
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    ask(peer)
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            ask(peer)
            assert peer.connections == 2

    def test_a_proxy_of_the_environment_carries_https_but_not_loopback(self, tmp_path, monkeypatch):
        certificate = peers.make_certificate(tmp_path / "peer.pem", "provider.example")
        with (
            Peer(answers(response(200, {"a": 1})), certificate=certificate) as origin,
            Peer(tunnel_to(origin)) as proxy,
        ):
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", "")
            kept = []
            answer = call(
                "POST",
                "https://provider.example/x",
                limits=PATIENT,
                path_template="/x",
                session=open_session(certificate),
                keep=kept.append,
            )
            assert answer.json() == {"a": 1}
            assert kept == [response(200, {"a": 1})]  # and not what the proxy said
            assert [request.method for request in proxy.requests] == ["CONNECT"]
            refused(origin, session=open_session(certificate))  # loopback: direct, where the certificate does not fit
            assert proxy.connections == 1

    def test_a_proxy_that_refuses_means_that_nothing_was_sent(self, monkeypatch):
        with Peer(answers(response(407))) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", "")
            with pytest.raises(ProviderUnavailable) as caught:
                call("POST", "https://provider.example/x", limits=PATIENT, path_template="/x", auth=SECRET)
        assert (type(caught.value), caught.value.code) == (ProviderUnavailable, "connect_failed")
        assert_tells_nothing(caught.value)


def tunnel_to(origin):
    """An HTTP proxy that takes every CONNECT to one place."""

    def pump(source, sink):
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def behaviour(talk):
        talk.request()
        talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", origin.port)) as onward:
            back = threading.Thread(target=pump, args=(onward, talk.connection), daemon=True)
            back.start()
            pump(talk.connection, onward)
            back.join(10)

    return behaviour


class Pauses(list):
    """Stands in for sleeping: notes how long, and moves the clock."""

    now = 0.0

    def sleep(self, seconds):
        self.append(seconds)
        self.now += seconds

    def clock(self):
        return self.now


@pytest.fixture
def pauses():
    return Pauses()


def get(peer, pauses, **plan):
    retries = Retries(sleep=pauses.sleep, clock=pauses.clock, **plan)
    return get_with_retries(peer.url + "/x", limits=PATIENT, path_template="/x", retries=retries)


class TestRetries:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_a_passing_fault_is_asked_again(self, status, pauses):
        with Peer(answers(response(status), response(200, {"a": 1}))) as peer:
            assert get(peer, pauses).json() == {"a": 1}
        assert len(pauses) == 1

    def test_a_lost_answer_is_asked_again(self, pauses):
        def second_time(talk):
            talk.request()
            if talk.number > 1:
                talk.send(response(200, {"a": 1}))

        with Peer(second_time) as peer:
            assert get(peer, pauses).json() == {"a": 1}

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404])
    def test_other_answers_are_final(self, status, pauses):
        with Peer(answers(response(status))) as peer:
            assert get(peer, pauses).status == status
            assert len(peer.requests) == 1

    def test_attempts_are_bounded_and_pauses_grow(self, pauses):
        with Peer(answers(response(503))) as peer:
            assert get(peer, pauses).status == 503
            assert len(peer.requests) == 3
        assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1.0

    def test_failing_to_connect_is_tried_again_and_then_raised(self, pauses):
        with pytest.raises(ProviderUnavailable) as caught:
            get_with_retries(
                f"http://127.0.0.1:{free_port()}/",
                limits=QUICK,
                path_template="/x",
                retries=Retries(sleep=pauses.sleep, clock=pauses.clock),
            )
        assert caught.value.code == "connect_failed"
        assert len(pauses) == 2

    def test_retry_after_is_honoured(self, pauses):
        with Peer(answers(response(429, {}, Retry_After="7"), response(200, {}))) as peer:
            get(peer, pauses)
        assert pauses == [7.0]

    def test_a_wish_beyond_the_budget_ends_the_asking(self, pauses):
        with Peer(answers(response(429, {}, Retry_After="31"))) as peer:
            assert get(peer, pauses, budget=30.0).status == 429
            assert len(peer.requests) == 1
        assert pauses == []

    def test_nonsense_is_not_asked_for_again(self, pauses):
        with Peer(answers(response(302, b"", Location="/y"))) as peer:
            with pytest.raises(MalformedAnswer):
                get(peer, pauses)
            assert len(peer.requests) == 1


class TestDownloads:
    def fetch(self, url, limits=PATIENT, **kwargs):
        target = io.BytesIO()
        kwargs.setdefault("allow_http_loopback", True)
        return stream_to(url, target, limits=limits, **kwargs), target.getvalue()

    def refused(self, url, **kwargs):
        with pytest.raises(ApiError) as caught:
            self.fetch(url, **kwargs)
        assert_tells_nothing(caught.value)
        return caught.value

    def test_a_file_comes_with_its_type_and_no_credentials_are_shown(self):
        with Peer(answers(response(200, b"\x89PNG", "Image/PNG; charset=binary"))) as peer:
            assert self.fetch(f"{peer.url}/f.png?sig={SECRET}") == ("image/png", b"\x89PNG")
        assert peer.requests[0].target == f"/f.png?sig={SECRET}"
        assert "authorization" not in peer.requests[0].headers

    @pytest.mark.parametrize("behaviour", [peers.huge_unannounced, peers.huge_chunked])
    def test_a_flood_is_cut_off(self, behaviour):
        with Peer(behaviour) as peer:
            assert self.refused(f"{peer.url}/?sig={SECRET}").code == "too_large"

    def test_a_drip_is_left_at_the_deadline(self):
        limits = Limits(read_timeout=60.0, deadline=1.0)
        started = time.monotonic()
        with Peer(peers.drips_body) as peer:
            assert self.refused(f"{peer.url}/?sig={SECRET}", limits=limits).code == "timeout"
        assert time.monotonic() - started < limits.deadline + SLACK

    @pytest.mark.parametrize("status", [403, 404, 302, 500])
    def test_any_other_status_is_an_error(self, status):
        with Peer(answers(response(status, b"x", Location="https://elsewhere.example/"))) as peer:
            error = self.refused(f"{peer.url}/?sig={SECRET}")
        assert (error.code, error.status) == (f"http_{status}", status)

    @pytest.mark.parametrize(
        "url",
        [
            "http://files.example/x",
            "ftp://files.example/x",
            "file:///etc/passwd",
            "//files.example/x",
            "https://",
            "https://[::1",
            "https://files.example:99999999/",
            f"https://user:{SECRET}@files.example/",
            "http://127.0.0.1.files.example/",
            "HTTP://localhost@files.example/",
            "not an url",
            "",
        ],
    )
    def test_only_https_urls_are_opened(self, url):
        assert self.refused(url).code == "bad_url"

    def test_loopback_over_http_has_to_be_allowed(self):
        with Peer(answers(response(200, b"x"))) as peer:
            assert self.refused(f"{peer.url}/?sig={SECRET}", allow_http_loopback=False).code == "bad_url"
            assert peer.connections == 0

    def test_a_name_that_leads_inside_is_not_followed(self, tmp_path):
        certificate = peers.make_certificate(tmp_path / "peer.pem")
        with Peer(answers(response(200, b"x")), certificate=certificate) as peer:
            session = open_session(certificate)
            error = self.refused(f"{peer.url}/?sig={SECRET}", allow_http_loopback=False, session=session)
            assert error.code == "connect_failed"
            assert peer.connections == 0
            assert self.fetch(peer.url + "/", session=session)[1] == b"x"

    def test_an_error_of_the_target_is_not_taken_for_one_of_the_network(self):
        class Full(io.BytesIO):
            def write(self, data):
                raise OSError(28, "No space left on device")

        with Peer(answers(response(200, b"x"))) as peer, pytest.raises(OSError, match="No space"):
            stream_to(peer.url + "/", Full(), limits=PATIENT, allow_http_loopback=True)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host, expected):
    assert is_loopback(host) is expected
