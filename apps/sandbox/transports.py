"""Ways into the sandbox: a client for stripe-python without sockets, and a WSGI application."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import stripe

from apps.sandbox import forms
from apps.sandbox.control import control
from apps.sandbox.engine import Answer, Sandbox
from apps.sandbox.errors import ConnectionLost, Refusal

LARGEST_BODY = 1_000_000
MOUNT = "/_stripe"
StartResponse = Callable[..., object]
Page = Callable[[Sandbox, Mapping[str, Any]], tuple[int, list[tuple[str, str]], bytes]]


class SandboxClient(stripe.HTTPClient):
    """stripe-python's transport for tests: `StripeClient(key, http_client=SandboxClient(sandbox))`.

    Before each request what is due by then happens, as it would have in the meantime.
    """

    name = "sandbox"

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.sandbox = sandbox

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Answer a request; raise stripe's own APIConnectionError when the connection is lost."""
        self.sandbox.tick()
        address = urlsplit(url)
        path = address.path.removeprefix(MOUNT)
        text = post_data if method.lower() == "post" else address.query
        try:
            params = forms.decode(text or "")
            answer = self.sandbox.handle(method.upper(), path, params, headers or {})
        except ConnectionLost as lost:
            error = stripe.APIConnectionError(str(lost), should_retry=True)  # type: ignore[no-untyped-call]
            raise error from lost
        lowered = {name.lower(): value for name, value in answer.headers.items()}
        return json.dumps(answer.body), answer.status, lowered

    def close(self) -> None:
        """Do nothing: there is no connection."""


class Application:
    """The sandbox as a WSGI application; `pages` draws everything that is not an API.

    Before each request what is due by then happens, as with SandboxClient.
    """

    def __init__(self, sandbox: Sandbox, pages: Page | None = None) -> None:
        self.sandbox = sandbox
        self._pages = pages

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        path = str(environ.get("PATH_INFO", "")).removeprefix(MOUNT)
        try:
            if path.startswith("/_sandbox/"):
                return _send(start_response, self._control(environ, path))
            if path.startswith(("/v1/", "/v2/")):
                return _send(start_response, self._answer(environ, path))
        except ConnectionLost:
            return _break_off(start_response)
        except Refusal as refusal:
            return _send(start_response, Answer(refusal.status, {}, {"error": refusal.error}))
        return self._page(environ, start_response)

    def _answer(self, environ: Mapping[str, Any], path: str) -> Answer:
        self.sandbox.tick()
        method = str(environ["REQUEST_METHOD"])
        body = _read_body(environ).decode()
        try:
            params = forms.decode("&".join(part for part in (_query(environ), body) if part))
        except forms.BadForm as error:
            raise Refusal(400, str(error)) from error
        return self.sandbox.handle(method, path, params, _headers(environ))

    def _control(self, environ: Mapping[str, Any], path: str) -> Answer:
        wanted = json.loads(_read_body(environ) or b"{}")
        name = path.removeprefix("/_sandbox/")
        return Answer(200, {}, control(self.sandbox, str(environ["REQUEST_METHOD"]), name, wanted))

    def _page(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if self._pages is None:
            message = f"Unrecognized request URL: {environ.get('PATH_INFO')}"
            return _send(start_response, Answer(404, {}, {"error": {"message": message}}))
        status, headers, body = self._pages(self.sandbox, environ)
        start_response(_line(status), headers)
        return [body]


def _read_body(environ: Mapping[str, Any]) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > LARGEST_BODY:
        raise Refusal(413, "The request is too large.")
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    return body


def _query(environ: Mapping[str, Any]) -> str:
    return str(environ.get("QUERY_STRING", ""))


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    given = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    return {name[5:].replace("_", "-").lower(): str(value) for name, value in given.items()}


def _send(start_response: StartResponse, answer: Answer) -> list[bytes]:
    body = json.dumps(answer.body, indent=2).encode()
    headers = {**answer.headers, "Content-Type": "application/json"}
    headers["Content-Length"] = str(len(body))
    start_response(_line(answer.status), list(headers.items()))
    return [body]


def _break_off(start_response: StartResponse) -> list[bytes]:
    """Promise more than is sent: the nearest to a broken connection that WSGI allows."""
    start_response(_line(200), [("Content-Type", "application/json"), ("Content-Length", "4096")])
    return [b'{"id": "']


def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
