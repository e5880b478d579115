"""A second process for the token tests: waits for a line on standard input, asks for tokens, prints what became of it.

`ask PK [PK …]` asks for each in turn; `die PK` is killed by its parent while it waits for the provider.
"""

import os
import sys
from datetime import timedelta

import django
from django.conf import settings


def main():
    django.setup()
    settings.EPROSPERA_BASE_URL = os.environ["WORKER_PROVIDER"]
    settings.SOCIAL_AUTH_EPROSPERA_KEY = os.environ["WORKER_CLIENT"]
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = os.environ["WORKER_SECRET"]
    if "WORKER_LEASE" in os.environ:
        settings.EPROSPERA_REFRESH_LEASE = timedelta(seconds=float(os.environ["WORKER_LEASE"]))

    if "WORKER_SPOOL" in os.environ:
        settings.EPROSPERA_SPOOL = os.environ["WORKER_SPOOL"] or None

    from django_eprospera.errors import EprosperaError
    from django_eprospera.models import Connection
    from django_eprospera.tokens import access_token

    print("ready", flush=True)
    sys.stdin.readline()
    for pk in sys.argv[1:]:
        try:
            print(pk, access_token(Connection.objects.get(pk=pk)), flush=True)
        except EprosperaError as error:
            print(pk, type(error).__name__, flush=True)


if __name__ == "__main__":
    main()
