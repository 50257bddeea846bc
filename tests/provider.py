"""A provider of the outside world that signs people in by OpenID Connect, with code and PKCE."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.issuers import jwk_of, private_key, signed

CLIENT, SECRET = "countinghouse", "client-secret"


class Provider:
    """It signs in whoever it is told to, and answers at `url` while it serves."""

    def __init__(self) -> None:
        self.key = private_key("RS256", "provider")
        self.url = ""
        self.codes: dict[str, tuple[str, dict[str, Any]]] = {}
        self.token_changes: dict[str, Any] = {}
        self.info_changes: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.pages: dict[str, Any] = {}

    def settings(self) -> dict[str, Any]:
        """Return it as the settings name it."""
        options = {"server_url": self.url, "oauth_pkce_enabled": True}
        return {
            "provider": "openid_connect",
            "provider_id": "oidc",
            "name": "Single sign-on",
            "client_id": CLIENT,
            "secret": SECRET,
            "settings": options,
        }

    def sign_in(self, address: str, **claims: Any) -> str:
        """Sign somebody in who was sent to `address`; return the query they come back with."""
        asked = {name: found[0] for name, found in parse_qs(urlsplit(address).query).items()}
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        kept = {"nonce": asked.get("nonce"), **claims}
        self.codes[code] = (asked["code_challenge"], kept)
        return f"?code={code}&state={asked['state']}"

    @contextmanager
    def serving(self) -> Iterator[Provider]:
        """Answer over HTTP as long as the context lasts."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def shown(self) -> dict[str, Any]:
        """Return its discovery document."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def tokens(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Give tokens for a code, once, to who has its verifier and the client's secret."""
        challenge, claims = self.codes.pop(form.get("code", ""), ("", {}))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if proof != challenge or form.get("client_secret") != SECRET:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        said = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60, **claims}
        self.info = {**{k: v for k, v in said.items() if k != "nonce"}, **self.info_changes}
        token = signed({**said, **self.token_changes}, self.key, "RS256", key_id="provider")
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token}

    def tell_github(self, verified: bool, email: str) -> None:
        """Answer GitHub's own questions, too: who, and which addresses."""
        self.pages = {
            "/user": {"id": 42, "login": "pat", "name": "Pat Lee", "email": "shown@x.example"},
            "/user/emails": [
                {"email": "old@x.example", "primary": False, "verified": False},
                {"email": email, "primary": True, "verified": verified},
            ],
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages = {
                    **outer.pages,
                    "/.well-known/openid-configuration": outer.shown(),
                    "/userinfo": outer.info,
                    "/jwks": {"keys": [jwk_of(outer.key, "RS256", "provider")]},
                }
                self._send(200, pages[self.path])

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = parse_qs(self.rfile.read(length).decode())
                self._send(*outer.tokens({name: found[0] for name, found in form.items()}))

            def _send(self, status: int, body: Any) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                """Say nothing."""

        return Handler
