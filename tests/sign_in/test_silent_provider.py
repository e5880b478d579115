"""A provider that accepts connections and never answers costs its own sign-ins, and no other page of the site."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections

from django_eprospera.errors import AnswerLost, ProviderUnavailable
from django_eprospera.provider.shared import Shared
from tests.visitor import Visitor

WORKERS = 4


class SilentProvider:
    """Takes every connection, and answers none. `calls` counts them."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                self.connections.append(self.listener.accept()[0])
            except OSError:
                return

    @property
    def calls(self):
        return len(self.connections)

    def close(self):
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def few_workers():
    """The site on a port, served by as many threads as a small site has workers."""
    server = WSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(WSGIHandler())
    server.timeout = 0.1
    stopping = threading.Event()

    def work():
        while not stopping.is_set():
            server.handle_request()
        connections.close_all()

    server.socket.setblocking(False)  # who comes second to a connection goes on
    threads = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    stopping.set()
    for thread in threads:
        thread.join()
    server.server_close()


@pytest.fixture
def silent():
    provider = SilentProvider()
    yield provider
    provider.close()


@pytest.fixture
def small_site(db, settings, silent):
    settings.ROOT_URLCONF = "tests.sign_in.urls"
    settings.EPROSPERA_BASE_URL = silent.url
    settings.EPROSPERA_TIMEOUT = settings.EPROSPERA_DEADLINE = 100  # longer than the test waits
    with few_workers() as address:
        yield address


def test_twelve_clicks_hold_one_worker_of_four(small_site, silent):
    visitors = [Visitor(small_site) for _ in range(12)]
    for visitor in visitors:
        visitor.csrf_token()
    with ThreadPoolExecutor(12) as pool:
        clicks = [pool.submit(visitor.begin) for visitor in visitors]
        answered = [next(answers := as_completed(clicks)).result()] + [next(answers).result() for _ in range(10)]
        # One still asks, or has just given up; the others did not wait for it.
        assert silent.calls == 1
        assert Visitor(small_site).get("/button/").status_code == 200
    assert {page.status_code for page in answered} <= {503, 504}
    assert silent.calls == 1


def test_a_click_after_a_failure_does_not_ask_again_at_once(visitor, provider):
    asked = []
    provider.discovery = lambda answer: asked.append(1) or answer | {"issuer": "https://elsewhere.example"}
    assert [visitor.begin().status_code for _ in range(3)] == [502, 502, 502]
    assert len(asked) == 1


class TestShared:
    """What is fetched by one for all."""

    def fail(self):
        raise AnswerLost("GET", "/x", "timeout", status=None)

    def shared(self, lifetime=60.0):
        self.now = 1000.0
        return Shared(lifetime, clock=lambda: self.now)

    def test_is_fetched_once_in_its_lifetime(self):
        shared = self.shared()
        fetched = []
        for moment in (0, 59, 61):
            self.now = 1000.0 + moment
            shared.get(lambda: fetched.append(1) or "value", patience=1)
        assert len(fetched) == 2

    def test_pauses_grow_with_failures_up_to_a_minute_and_end_with_success(self):
        shared = self.shared()
        pauses = []
        for _ in range(9):
            with pytest.raises(AnswerLost):
                shared.get(self.fail, patience=1)
            pauses.append(shared.retry_at - self.now)
            self.now = shared.retry_at - 0.1
            with pytest.raises(AnswerLost, match="timeout"):
                shared.get(lambda: pytest.fail("fetched too early"), patience=1)
            self.now = shared.retry_at
        assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]
        assert shared.get(lambda: "value", patience=1) == "value"
        self.now += 61
        with pytest.raises(AnswerLost):
            shared.get(self.fail, patience=1)
        assert shared.retry_at - self.now == 2

    def test_who_finds_an_old_value_being_fetched_takes_it(self):
        shared = self.shared()
        shared.get(lambda: "old", patience=1)
        self.now += 61
        assert shared.get(lambda: (shared.get(self.fail, patience=0), "new"), patience=1) == ("old", "new")

    def test_who_finds_a_first_value_being_fetched_waits_for_it(self):
        shared = Shared(60.0)
        begun, go_on = threading.Event(), threading.Event()

        def fetch():
            begun.set()
            go_on.wait(30)
            return "value"

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(shared.get, fetch, patience=30)
            begun.wait(30)
            with pytest.raises(ProviderUnavailable, match="timeout"):
                shared.get(self.fail, patience=0)
            second = pool.submit(shared.get, self.fail, patience=30)
            go_on.set()
            assert (first.result(30), second.result(30)) == ("value", "value")

    def test_a_fetch_that_breaks_in_another_way_holds_nobody_up(self):
        shared = self.shared()
        with pytest.raises(ZeroDivisionError):
            shared.get(lambda: 1 / 0, patience=1)
        assert shared.get(lambda: "value", patience=1) == "value"
