"""The sandbox, where Wulandari shares 50 companies, and with TLS if EPROSPERA_BENCH_CERTIFICATE names a certificate."""

import os
import ssl
import sys
import uuid
from dataclasses import replace

from django_eprospera.sandbox import cli
from django_eprospera.sandbox.companies import COMPANIES, DOCUMENTS, KITES
from django_eprospera.sandbox.personas import PERSONAS
from tests.sandbox_process import WULANDARI

MANY = tuple(str(uuid.UUID(int=(0xEC << 120) + number)) for number in range(50))


class TlsServer(cli.Server):
    """Speaks TLS. Handshakes are the connections' own threads' work."""

    def server_bind(self):
        super().server_bind()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(os.environ["EPROSPERA_BENCH_CERTIFICATE"])
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


def main():
    for number, company in enumerate(MANY):
        COMPANIES[company] = COMPANIES[KITES] | {"id": company, "residentPermitNumber": f"8{number:013}"}
        DOCUMENTS[company] = [
            each | {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, company + each["id"]))} for each in DOCUMENTS[KITES]
        ]
    PERSONAS[WULANDARI] = replace(PERSONAS[WULANDARI], entities=MANY)
    if os.environ.get("EPROSPERA_BENCH_CERTIFICATE"):
        cli.Server = TlsServer
    sys.exit(cli.main())


if __name__ == "__main__":
    main()
