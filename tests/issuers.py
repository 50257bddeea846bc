"""A token issuer of the outside world: it signs whatever it is told to, and shows its keys."""

from __future__ import annotations

import base64
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
MAKERS: dict[str, Callable[[], Private]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@functools.cache
def private_key(algorithm: str, name: str = "") -> Private:
    """Return a key, always the same for the same name: making RSA keys takes long."""
    return MAKERS[algorithm]()


def pem_of(key: Private) -> str:
    """Return the public half as PEM."""
    encoded = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def jwk_of(key: Private, algorithm: str, key_id: str, **more: Any) -> dict[str, Any]:
    """Return the public half as a row of a key set."""
    row = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    found = row if isinstance(row, dict) else json.loads(row)
    found.pop("key_ops", None)
    return {**found, "kid": key_id, "alg": algorithm, "use": "sig", **more}


def claims_of(issuer: str, at: datetime, **changes: Any) -> dict[str, Any]:
    """Return the claims of a good token of ten minutes; None takes one away."""
    now = int(at.timestamp())
    found = {"iss": issuer, "sub": "user-1", "aud": "billing", "azp": "https://app.example",
             "iat": now, "nbf": now, "exp": now + 600}  # fmt: skip
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def encoded(value: object) -> str:
    """Return a part of a token: JSON, or bytes as they are, in base64url."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(
    claims: Mapping[str, Any] | bytes,
    key: Private,
    algorithm: str,
    *,
    key_id: str | None = None,
    header: Mapping[str, Any] | None = None,
) -> str:
    """Return a token; `header` changes what its header says, not what it is signed with."""
    said = {"alg": algorithm, "typ": "JWT", "kid": key_id, **(header or {})}
    kept = {name: value for name, value in said.items() if value is not None}
    text = f"{encoded(kept)}.{encoded(claims)}"
    signature = jwt.get_algorithm_by_name(algorithm).sign(text.encode(), key)
    return f"{text}.{encoded(signature)}"


class Issuer:
    """An issuer with a key of each kind, which shows them at `jwks_url` while it serves."""

    def __init__(self, name: str = "issuer") -> None:
        self.issuer = f"https://{name}.example"
        self.keys: dict[str, tuple[str, Private]] = {
            f"{name}-{algorithm}": (algorithm, private_key(algorithm, name)) for algorithm in MAKERS
        }
        self.name, self.jwks_url = name, ""
        self.asked, self.is_down, self.takes = 0, False, 0.0

    def token(self, at: datetime, *, algorithm: str = "RS256", **changes: Any) -> str:
        """Return a good token; `changes` are of its claims."""
        key_id = f"{self.name}-{algorithm}"
        claims = claims_of(self.issuer, at, **changes)
        return signed(claims, self.keys[key_id][1], algorithm, key_id=key_id)

    def rotate(self, key_id: str) -> None:
        """Show a new RSA key instead of all others."""
        self.keys = {key_id: ("RS256", private_key("RS256", key_id))}

    def document(self) -> dict[str, Any]:
        """Return the key set."""
        return {"keys": [jwk_of(key, alg, key_id) for key_id, (alg, key) in self.keys.items()]}

    @contextmanager
    def serving(self) -> Iterator[Issuer]:
        """Answer over HTTP as long as the context lasts."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.jwks_url = f"http://127.0.0.1:{server.server_address[1]}/jwks"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                time.sleep(outer.takes)
                body = b"" if outer.is_down else json.dumps(outer.document()).encode()
                self.send_response(503 if outer.is_down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(BrokenPipeError):  # whoever asked did not wait
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                """Say nothing."""

        return Handler
