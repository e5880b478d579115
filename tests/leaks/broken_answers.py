"""Broken answers of the provider that hold secrets and personal data, and one that never comes."""

import json

from tests.leaks.wire import Reply


def ways_to_fail(canaries):
    """Answers in place of the provider's: (name, function of the request), most of them full of what nobody may see."""

    def everything(request):
        personal = [value.decode("latin-1") for value, kind in list(canaries.kinds.items()) if "picture" not in kind]
        return f"{request.echo()}\n{' '.join(personal)}".encode("latin-1", "replace")

    def as_json(form):
        """`form` with everything in place of each ECHO, as a JSON string holds it."""
        return lambda request: form.replace("ECHO", json.dumps(everything(request).decode("latin-1"))[1:-1]).encode()

    error, described = (
        as_json('{"error": "ECHO"}'),
        as_json('{"error": "invalid_request", "error_description": "ECHO"}'),
    )
    listed = as_json('["ECHO"]')
    mistaken = as_json(
        '{"sub": {"ECHO": 1}, "access_token": ["ECHO"], "issuer": "ECHO", "keys": "ECHO", "name": {"ECHO": 1}, '
        '"data": ["ECHO"], "wasEverResident": "ECHO", "id": ["ECHO"], "documents": "ECHO"}'
    )
    return {
        "HTML": lambda request: Reply(502, b"<html><pre>" + everything(request), "text/html"),
        "500": lambda request: Reply(500, error(request)),
        "400": lambda request: Reply(400, described(request)),
        "401": lambda request: Reply(401, error(request)),
        "a list": lambda request: Reply(200, listed(request)),
        "wrong types": lambda request: Reply(200, mistaken(request)),
        "not JSON": lambda request: Reply(200, everything(request)),
        "stall": lambda request: Reply(200, b"", stall=30),
    }


def at(path, reply):
    """Misbehave where the path begins like this."""
    return lambda request: reply(request) if request.path.startswith(path) else None


def behave(_request):
    """Stop breaking answers."""
