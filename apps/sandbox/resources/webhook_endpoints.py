"""Where webhooks are sent."""

from __future__ import annotations

from urllib.parse import urlsplit

from apps.sandbox.errors import invalid
from apps.sandbox.resources.fields import set_fields
from apps.sandbox.store import Body
from apps.sandbox.world.kinds import random_text
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import operation

MOST = 16


@operation("POST /v1/webhook_endpoints")
def create(world: World, params: Params) -> Body:
    """Register an address; only this answer carries the secret that signs."""
    params.get("connect")
    _refuse_bad_address(params["url"])
    if len(world.find("webhook_endpoint")) >= MOST:
        raise invalid(f"You have reached the maximum of {MOST} test webhook endpoints.")
    endpoint = world.new(
        "webhook_endpoint",
        api_version=params.get("api_version"),
        enabled_events=params["enabled_events"],
        status="enabled",
        url=params["url"],
        _secret=f"whsec_{random_text(32)}",
    )
    set_fields(endpoint, params, "description", "metadata")
    return {**endpoint, "secret": endpoint["_secret"]}


def register(world: World, url: str, *, secret: str) -> Body:
    """Register our own web process under a secret that both sides know from their settings."""
    for endpoint in world.find("webhook_endpoint", url=url):
        endpoint["_secret"] = secret
        return endpoint
    return world.new(
        "webhook_endpoint", enabled_events=["*"], status="enabled", url=url, _secret=secret
    )


def _refuse_bad_address(url: str) -> None:
    address = urlsplit(url)
    if address.scheme not in {"http", "https"} or not address.netloc:
        raise invalid(
            "Invalid URL: An explicit scheme (such as https) must be provided.",
            param="url",
            code="url_invalid",
        )


@operation("POST /v1/webhook_endpoints/{webhook_endpoint}")
def update(world: World, params: Params, identity: str) -> Body:
    """Change where or what an endpoint is told."""
    endpoint = world.get("webhook_endpoint", identity)
    set_fields(endpoint, params, "description", "enabled_events", "metadata", "url")
    _refuse_bad_address(endpoint["url"])
    if (disabled := params.get("disabled")) is not None:
        endpoint["status"] = "disabled" if disabled else "enabled"
    return endpoint


@operation("GET /v1/webhook_endpoints/{webhook_endpoint}")
def retrieve(world: World, _params: Params, identity: str) -> Body:
    """Return an endpoint, without its secret."""
    return world.get("webhook_endpoint", identity)


@operation("GET /v1/webhook_endpoints")
def list_all(world: World, params: Params) -> Body:
    """Return the endpoints."""
    params.take("limit", "starting_after", "ending_before")
    return world.page("webhook_endpoint", "/v1/webhook_endpoints", params)


@operation("DELETE /v1/webhook_endpoints/{webhook_endpoint}")
def delete(world: World, _params: Params, identity: str) -> Body:
    """Remove an endpoint; what waits for it is not sent any more."""
    return world.bury(world.get("webhook_endpoint", identity))
