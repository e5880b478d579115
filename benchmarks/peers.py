"""Signing in with other packages ÷ with this one: the same person, at the same sandbox. `sign_in` has what is measured."""

from benchmarks.measure import Row, compared
from benchmarks.sign_in import provider, workers

PEERS = {"oidc": "python-social-auth", "allauth": "django-allauth", "mozilla": "mozilla-django-oidc"}


def rows(bench):
    with provider("http") as url, workers(url, "eprospera", *PEERS) as ask:
        found = {kind: [] for kind in ("eprospera", *PEERS)}
        for _ in range(bench.rounds):
            for kind, answers in found.items():
                answers.append(ask(kind))
        ours = [seconds for seconds, _ in found["eprospera"]]
        for kind, name in PEERS.items():
            pairs = list(zip((seconds for seconds, _ in found[kind]), ours, strict=True))
            yield compared(f"Peer {name}: CPU of a sign-in ÷ ours", pairs)
            yield Row(f"Peer {name}: SQL of a sign-in", found[kind][-1][1], "queries")
