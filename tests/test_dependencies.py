"""The parts of dependencies that this package uses although their manuals do not promise them."""

import inspect

import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.poolmanager
from django.db.transaction import Atomic
from django.utils.log import log_response
from social_core.backends.oauth import BaseOAuth2


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def names_in(function):
    """What a function looks up or calls by name, and its texts."""
    return {*function.__code__.co_names, *(text for text in function.__code__.co_consts if isinstance(text, str))}


def assert_uses(function, *names):
    missing = set(names) - names_in(function)
    assert not missing, f"{function.__qualname__} no longer uses {', '.join(sorted(missing))}"


def test_urllib3_opens_its_connections_where_transport_replaces_that():
    """Look at _PlainConnection, _TlsConnection and _POOLS in django_eprospera/provider/transport.py."""
    plain, tls = urllib3.connection.HTTPConnection, urllib3.connection.HTTPSConnection
    assert parameters(plain._new_conn) == [], "HTTPConnection._new_conn takes something"
    assert_uses(plain.connect, "_new_conn", "sock")
    assert_uses(tls.connect, "_new_conn", "sock")
    assert_uses(plain.__init__, "proxy")
    assert isinstance(plain.is_connected, property), "HTTPConnection.is_connected is no property"
    assert parameters(plain.putrequest)[:2] == ["method", "url"], "HTTPConnection.putrequest takes something else"
    assert_uses(plain.request, "putrequest")
    pools = urllib3.connectionpool
    assert pools.HTTPConnectionPool.ConnectionCls is plain, "HTTPConnectionPool.ConnectionCls moved"
    assert pools.HTTPSConnectionPool.ConnectionCls is tls, "HTTPSConnectionPool.ConnectionCls moved"
    assert_uses(pools.HTTPConnectionPool._new_conn, "ConnectionCls")
    assert_uses(pools.HTTPSConnectionPool._new_conn, "ConnectionCls")
    assert_uses(pools.HTTPConnectionPool._get_conn, "is_connection_dropped")
    assert_uses(urllib3.connectionpool.is_connection_dropped, "is_connected")
    assert_uses(urllib3.poolmanager.PoolManager._new_pool, "pool_classes_by_scheme")


def test_requests_asks_its_adapter_where_transport_answers():
    """Look at _Adapter and _Session in django_eprospera/provider/transport.py."""
    adapter = requests.adapters.HTTPAdapter
    assert parameters(adapter.request_url) == ["request", "proxies"], "HTTPAdapter.request_url takes something else"
    assert parameters(adapter.proxy_manager_for)[0] == "proxy", "HTTPAdapter.proxy_manager_for takes something else"
    assert_uses(adapter.send, "request_url", "cert_verify")
    assert_uses(adapter.__init__, "init_poolmanager")
    assert_uses(adapter.init_poolmanager, "poolmanager")
    assert parameters(requests.Session.get_redirect_target) == ["resp"], (
        "Session.get_redirect_target takes something else"
    )
    assert_uses(requests.Session.send, "resolve_redirects")
    assert_uses(requests.Session.resolve_redirects, "get_redirect_target")


def test_social_core_keeps_states_where_the_backend_looks():
    """Look at SocialBackend in django_eprospera/sign_in/social_backend.py, and at STATE_SCOPE and STATE_INDEX in pending.py."""
    for name in ("_transaction_index_key", "_nonce_scope", "_state_lifetime"):
        assert parameters(getattr(BaseOAuth2, name)) == [], f"BaseOAuth2.{name} takes something"
        assert_uses(BaseOAuth2.get_or_create_state, name)
        assert_uses(BaseOAuth2.validate_state, name)
    assert BaseOAuth2._oauth2_transaction is None, "BaseOAuth2._oauth2_transaction has a value before a callback"
    assert_uses(BaseOAuth2.validate_state, "_oauth2_transaction", "transaction_key", "get_request_state")


def test_django_knows_what_was_logged_and_what_a_test_opened():
    """Look at error_page in django_eprospera/sign_in/errors.py and at django_eprospera/tokens/durable.py."""
    assert_uses(log_response, "_has_been_logged")
    assert_uses(Atomic.__enter__, "_from_testcase", "atomic_blocks")
