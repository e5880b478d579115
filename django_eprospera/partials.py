"""How is a paused sign-in kept from lying open in python-social-auth's table? Its data is sealed when saved, opened when read.

Only sign-ins with e-Próspera. `receivers` connects the three functions; nothing else calls them.
"""

from __future__ import annotations

import json
from typing import Any, Final

from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import ConfigurationError
from django_eprospera.keys import keyring

__all__ = ["open_partial", "restore_partial", "seal_partial"]

_BACKEND: Final = "eprospera"
_SEALED: Final = "eprospera_sealed"
_OWNER: Final = b"partial.data:"
# What is looked at before the rest is needed, and tells nothing of a person.
_CLEAR: Final = ("pipeline_type", "allow_external_resume")


def seal_partial(instance: Any, **_: Any) -> None:
    """Before saving. Raises ConfigurationError without a key: then nothing is saved."""
    if instance.backend != _BACKEND or _SEALED in instance.data:
        return
    sealed = keyring().seal(_owner(instance), json.dumps(instance.data).encode())
    instance._eprospera_open = instance.data  # noqa: SLF001 - ours, on an instance of theirs
    instance.data = {_SEALED: sealed, **{name: instance.data[name] for name in _CLEAR if name in instance.data}}


def restore_partial(instance: Any, **_: Any) -> None:
    """After saving: whoever holds the instance goes on working with it."""
    if opened := instance.__dict__.pop("_eprospera_open", None):
        instance.data = opened


def open_partial(instance: Any, **_: Any) -> None:
    """After loading. What does not open is emptied, so that the sign-in ends on a page instead of going on half."""
    data = instance.__dict__.get("data")
    if instance.__dict__.get("backend") != _BACKEND or not isinstance(data, dict) or _SEALED not in data:
        return
    clear = {name: data[name] for name in _CLEAR if name in data}
    try:
        instance.data = json.loads(keyring().open(_owner(instance), str(data[_SEALED])))
    except (DoesNotOpen, ConfigurationError, ValueError):
        instance.data = {**clear, "args": [], "kwargs": {}}


def _owner(instance: Any) -> bytes:
    return _OWNER + str(instance.token).encode()
