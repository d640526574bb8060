"""A server that issues tokens for docker-registry: JWTs that carry the certificate they need.

Source: distribution, docs/spec/auth/jwt.md.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.support.certificates import openssl
from tests.support.registry import PASSWORD, USER, TokenAuth

SERVICE: Final = "test-registry"
ISSUER: Final = "test-issuer"
REFRESH_TOKEN: Final = "refresh-me"


class TokenServer:
    """Comes from `token_server`. `asked` has the fields of each request for a token."""

    def __init__(self, folder: Path) -> None:
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=issuer"),
            *("-keyout", "token-key.pem", "-out", "token.pem"),
            cwd=folder,
        )
        self.certificate, self._key = folder / "token.pem", folder / "token-key.pem"
        self.asked: list[dict[str, str]] = []
        self.lifetime_s = 300
        self.url = ""

    @property
    def auth(self) -> TokenAuth:
        """What a registry must know."""
        return TokenAuth(
            realm=self.url, service=SERVICE, issuer=ISSUER, certificate=self.certificate
        )

    def answer(self, fields: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The answer to a request; None refuses it."""
        self.asked.append(fields)
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        knows = authorization == f"Basic {pair}" or fields.get("refresh_token") == REFRESH_TOKEN
        if not knows:
            return None
        scopes = fields.get("scope", "").split()
        token = self._token([scope for scope in scopes if not scope.startswith("repository:no/")])
        answer: dict[str, Any] = {"token": token, "access_token": token, "expires_in": 300}
        if fields.get("offline_token") == "true":
            answer["refresh_token"] = REFRESH_TOKEN
        return answer

    def _token(self, scopes: list[str]) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        access = [
            [*scope.rsplit(":", 1)[0].split(":", 1), scope.rsplit(":", 1)[1]] for scope in scopes
        ]
        claims = {
            "iss": ISSUER,
            "sub": USER,
            "aud": SERVICE,
            "exp": now + self.lifetime_s,
            "nbf": now - 60,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": [
                {"type": kind, "name": name, "actions": actions.split(",")}
                for kind, name, actions in access
            ],
        }
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self._key)],
            input=signed.encode(),
            capture_output=True,
            check=True,
        )
        return f"{signed}.{_encoded(done.stdout)}"


@contextmanager
def token_server(folder: Path, *, address: str = "127.0.0.1") -> Iterator[TokenServer]:
    """A token server on a port of its own."""
    tokens = TokenServer(folder)

    class Handler(_Handler):
        the_server = tokens

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    tokens.url = f"http://{address}:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    the_server: TokenServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._reply(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _reply(self, query: str) -> None:
        fields = {name: " ".join(values) for name, values in parse_qs(query).items()}
        answer = self.the_server.answer(fields, self.headers.get("Authorization", ""))
        refusal = {"details": "incorrect username or password"}
        body = json.dumps(refusal if answer is None else answer).encode()
        self.send_response(401 if answer is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
