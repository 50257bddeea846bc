"""Requests of real Django, FastAPI, Starlette, Flask and plain WSGI applications, counted."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast

import fastapi
import flask
import httpx
import pytest
from django.test import AsyncClient, override_settings
from django.test import Client as DjangoClient
from fastapi.responses import StreamingResponse
from flask.testing import FlaskClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import countinghouse
import countinghouse.asgi
import countinghouse.flask
import countinghouse.wsgi
from countinghouse import Client, Request, RequestTracker, marked
from tests.sdk import sites
from tests.sdk.server import Server, serving
from tests.sdk.sites import events_of

ACME = {"X-Org-Id": "acme"}
COUNTED = {
    "organization": "acme",
    "type": "api.request",
    "method": "GET",
    "status": 200,
    "category": "api_calls",
    "billable": True,
}


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client(interval=30) as client:
        yield client


def counted(server: Server, client: Client) -> list[dict[str, object]]:
    assert client.usage.flush()
    return events_of(server)


def site(tracker: RequestTracker) -> override_settings:
    return override_settings(
        ROOT_URLCONF=sites.__name__,
        MIDDLEWARE=sites.MIDDLEWARE,
        COUNTINGHOUSE_TRACKER=tracker,
    )


def test_django_counts_a_request_with_its_route(server: Server, client: Client) -> None:
    with site(RequestTracker(client)):
        assert DjangoClient(headers=ACME).get("/orders/7").content == b"order 7"
    assert counted(server, client) == [{**COUNTED, "route": "orders/<int:number>"}]


def test_django_reads_the_marks_of_functions_and_classes(server: Server, client: Client) -> None:
    with site(RequestTracker(client)):
        browser = DjangoClient(headers=ACME)
        browser.get("/export")
        browser.get("/report")
    assert counted(server, client) == [
        {**COUNTED, "route": "export", "billable": False, "category": "export"},
        {**COUNTED, "route": "report", "category": "reports"},
    ]


def test_django_counts_failures_and_lost_ways_and_bills_no_failure(
    server: Server, client: Client
) -> None:
    with site(RequestTracker(client)):
        browser = DjangoClient(raise_request_exception=False, headers=ACME)
        assert browser.get("/fail").status_code == 500
        assert browser.post("/nowhere").status_code == 404
    assert counted(server, client) == [
        {**COUNTED, "route": "fail", "status": 500, "billable": False},
        {**COUNTED, "method": "POST", "status": 404},
    ]


def test_django_counts_a_stream_when_it_is_through(server: Server, client: Client) -> None:
    with site(RequestTracker(client)):
        browser = DjangoClient(headers=ACME)
        pieces = iter(browser.get("/stream"))
        next(pieces)
        assert client.usage.counts.tracked == 0
        assert list(pieces) == [b"two"]
        assert client.usage.counts.tracked == 1
        with pytest.raises(RuntimeError):
            list(browser.get("/stream?break"))
    assert len(counted(server, client)) == 1


def test_django_counts_on_its_asynchronous_path(server: Server, client: Client) -> None:
    async def visit() -> list[bytes]:
        browser = AsyncClient()
        await browser.get("/report", headers=ACME)
        response = await browser.get("/stream-async", headers=ACME)
        return [piece async for piece in cast(AsyncIterator[bytes], response)]

    with site(RequestTracker(client)):
        assert asyncio.run(visit()) == [b"one", b"two"]
    assert [one["route"] for one in counted(server, client)] == ["report", "stream-async"]


def test_django_finds_the_tracker_by_its_name_or_refuses_to_start() -> None:
    with site("tests.sdk.nowhere.tracker"), pytest.raises(ImportError):  # type: ignore[arg-type]
        DjangoClient().get("/health")
    with site(None), pytest.raises(Exception, match="COUNTINGHOUSE_TRACKER"):  # type: ignore[arg-type]
        DjangoClient().get("/health")


def fastapi_app(tracker: RequestTracker) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.add_middleware(countinghouse.asgi.RequestTracking, tracker=tracker)
    router = fastapi.APIRouter(prefix="/api")

    @router.get("/orders/{number}")
    async def order(number: int, request: fastapi.Request) -> dict[str, int]:
        request.state.organization = "globex"
        return {"order": number}

    @router.get("/export")
    @marked(billable=False, category="export")
    def export() -> str:
        return "export"

    @router.get("/stream")
    def stream(broken: bool = False) -> StreamingResponse:
        def pieces() -> Iterator[str]:
            yield "one"
            if broken:
                raise RuntimeError
            yield "two"

        return StreamingResponse(pieces())

    @router.get("/fail")
    def fail() -> None:
        raise RuntimeError

    app.include_router(router)
    return app


def test_fastapi_counts_requests_with_routes_and_marks(server: Server, client: Client) -> None:
    browser = TestClient(fastapi_app(RequestTracker(client)), headers=ACME)
    assert browser.get("/api/orders/7").json() == {"order": 7}
    browser.get("/api/export")
    browser.get("/api/orders/x")
    browser.get("/nowhere")
    assert counted(server, client) == [
        {**COUNTED, "route": "/api/orders/{number}"},
        {**COUNTED, "route": "/api/export", "billable": False, "category": "export"},
        {**COUNTED, "route": "/api/orders/{number}", "status": 422},
        {**COUNTED, "status": 404},
    ]


def test_fastapi_counts_no_answer_that_broke_off(server: Server, client: Client) -> None:
    app = fastapi_app(RequestTracker(client))
    browser = TestClient(app, raise_server_exceptions=False, headers=ACME)
    assert browser.get("/api/stream").text == "onetwo"
    with pytest.raises(RuntimeError):
        TestClient(app, headers=ACME).get("/api/stream?broken=1")
    browser.get("/api/fail")
    assert [one["route"] for one in counted(server, client)] == ["/api/stream"]


def test_fastapi_may_say_itself_whose_request_it_was(server: Server, client: Client) -> None:
    def owner(request: Request) -> str | None:
        scope = request.native
        assert isinstance(scope, dict)
        found = scope["state"].get("organization")
        return None if found is None else str(found)

    browser = TestClient(fastapi_app(RequestTracker(client, organization=owner)), headers=ACME)
    browser.get("/api/orders/7")
    browser.get("/api/export")
    assert [one["organization"] for one in counted(server, client)] == ["globex"]


def test_an_asgi_server_that_stops_flushes(server: Server, client: Client) -> None:
    with TestClient(fastapi_app(RequestTracker(client)), headers=ACME) as browser:
        browser.get("/api/orders/7")
        assert server.seen == []
    assert len(server.ids) == 1


def test_starlette_counts_below_a_mount(server: Server, client: Client) -> None:
    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("page")

    app = Starlette(routes=[Mount("/shop", routes=[Route("/pages/{name}", page)])])
    tracked = countinghouse.asgi.RequestTracking(app, tracker=RequestTracker(client))
    assert TestClient(tracked, headers=ACME).get("/shop/pages/x").text == "page"
    (only,) = counted(server, client)
    assert only["organization"] == "acme"


def flask_app(tracker: RequestTracker) -> flask.Flask:
    app = flask.Flask(__name__)
    countinghouse.flask.RequestTracking(app, tracker=tracker)

    @app.before_request
    def authenticate() -> tuple[str, int] | None:
        flask.g.organization = "globex"
        return ("no", 401) if "refuse" in flask.request.args else None

    @app.get("/orders/<int:number>")
    def order(number: int) -> str:
        return f"order {number}"

    @app.get("/export")
    @marked(billable=False, category="export")
    def export() -> str:
        return "export"

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "one"
        yield "two"

    @app.get("/fail")
    def fail() -> str:
        raise RuntimeError

    return app


def fetch(browser: FlaskClient, address: str, **options: Any) -> str:
    """Read an answer to its end, as a server does to send it."""
    with browser.get(address, **options) as answer:
        return answer.get_data(as_text=True)


def test_flask_counts_requests_with_routes_and_marks(server: Server, client: Client) -> None:
    browser = flask_app(RequestTracker(client)).test_client()
    for address in ("/orders/7", "/export", "/export?refuse", "/nowhere", "/fail"):
        fetch(browser, address, headers=ACME)
    assert counted(server, client) == [
        {**COUNTED, "route": "/orders/<int:number>"},
        {**COUNTED, "route": "/export", "billable": False, "category": "export"},
        {**COUNTED, "route": "/export", "billable": False, "category": "export", "status": 401},
        {**COUNTED, "status": 404},
        {**COUNTED, "route": "/fail", "status": 500, "billable": False},
    ]


def test_flask_counts_a_stream_when_it_is_through(server: Server, client: Client) -> None:
    browser = flask_app(RequestTracker(client)).test_client()
    with browser.get("/stream", headers=ACME, buffered=False) as answer:
        pieces = answer.iter_encoded()
        next(pieces)
    assert client.usage.counts.tracked == 0
    with browser.get("/stream", headers=ACME) as answer:
        assert answer.get_data() == b"onetwo"
    assert len(counted(server, client)) == 1


def test_flask_may_say_itself_whose_request_it_was(server: Server, client: Client) -> None:
    tracker = RequestTracker(client, organization=lambda _: str(flask.g.organization))
    fetch(flask_app(tracker).test_client(), "/orders/7")
    assert [one["organization"] for one in counted(server, client)] == ["globex"]


def plain(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("201 Created", [("Content-Type", "text/plain")])
    return [b"made"]


def test_any_wsgi_application_is_counted(server: Server, client: Client) -> None:
    app = countinghouse.wsgi.RequestTracking(plain, tracker=RequestTracker(client))
    transport = httpx.WSGITransport(app=app)
    with httpx.Client(transport=transport, base_url="http://shop.example") as browser:
        assert browser.post("/orders", headers=ACME).text == "made"
    assert counted(server, client) == [{**COUNTED, "method": "POST", "status": 201}]


def test_a_request_of_nobody_is_not_counted(server: Server, client: Client) -> None:
    answered = visit(RequestTracker(client), "/api/x", {})
    assert answered == b"made"
    assert counted(server, client) == []


def visit(tracker: RequestTracker, path: str, headers: dict[str, str] | None = None) -> bytes:
    """Visit a plain application, as Acme unless headers are given."""
    sent = ACME if headers is None else headers
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.items()}
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO(), **named}
    body = countinghouse.wsgi.RequestTracking(plain, tracker=tracker)(environ, lambda *_: None)
    content = b"".join(body)
    body.close()  # type: ignore[attr-defined]
    return content


def test_excluded_paths_are_not_counted_with_all_below_them(server: Server, client: Client) -> None:
    tracker = RequestTracker(client, exclude=["/health", "/static/"])
    for path in ("/health", "/health/db", "/static/x.css", "/healthy"):
        visit(tracker, path)
    assert len(counted(server, client)) == 1


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("/api/hs/orders", "hs"),
        ("/api/rest", "rest"),
        ("/api/restaurants", "api_calls"),
        ("/api/payroll/runs/7", "payroll"),
        ("/", "api_calls"),
    ],
)
def test_the_six_industries_are_categories_by_path(
    server: Server, client: Client, path: str, category: str
) -> None:
    visit(RequestTracker(client, category=countinghouse.industries("/api")), path)
    assert [one["category"] for one in counted(server, client)] == [category]


def test_the_longest_beginning_of_a_path_gives_the_category(server: Server, client: Client) -> None:
    tracker = RequestTracker(client, category={"/api": "calls", "/api/export": "exports"})
    visit(tracker, "/api/export/7")
    assert [one["category"] for one in counted(server, client)] == ["exports"]


def test_category_and_billable_may_be_decided_by_request(server: Server, client: Client) -> None:
    tracker = RequestTracker(
        client,
        category=lambda request: request.header("X-App") or None,
        billable=lambda request: request.path != "/free",
        event_type="api.call",
    )
    visit(tracker, "/free", {**ACME, "X-App": "auto"})
    visit(tracker, "/paid")
    free, paid = counted(server, client)
    assert (free["type"], free["category"], free["billable"]) == ("api.call", "auto", False)
    assert (paid["type"], paid["category"], paid["billable"]) == ("api.call", "api_calls", True)


def test_nothing_that_goes_wrong_reaches_the_application(
    server: Server, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: Request) -> str:
        raise RuntimeError("no such organization")

    assert visit(RequestTracker(client, organization=fail), "/") == b"made"
    assert "no such organization" in caplog.text
    client.close()
    assert visit(RequestTracker(client), "/") == b"made"
    assert "ClientClosed" in caplog.text


def test_a_full_queue_never_reaches_the_application(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as gone:
        pass
    client = gone.client(max_waiting=1, when_full="raise", interval=60)
    tracker = RequestTracker(client)
    assert [visit(tracker, "/") for _ in range(3)] == [b"made"] * 3
    assert "QueueFull" in caplog.text
    client.close(timeout=0)
