"""`/api-keys`: the keys of programs. Each is shown once, when it is made or rotated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Instant,
    Kind,
    LiveMode,
    NoBody,
    Shape,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.tenants import services
from apps.tenants.models import ApiKey
from apps.tenants.roles import SCOPES
from apps.tenants.services import NewKey

TAG = "API keys"
HOURS = 168


class ApiKeyShape(Shape):
    """An API key, without the key."""

    object = Kind("api_key")
    id = public_id("key", source="public_id")
    created_at = serializers.DateTimeField()
    livemode = LiveMode()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="the start of the key, to recognise it by")
    scopes = serializers.ListField(child=serializers.CharField())
    organization = public_id(
        "org",
        source="organization.public_id",
        allow_null=True,
        default=None,
        help_text="null: a key of the platform",
    )
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="to the minute")


class NewApiKeyShape(ApiKeyShape):
    """An API key just made: the only answer that holds the key."""

    key = serializers.CharField(help_text="shown this once")


class NewApiKey(Body):
    """What a program may do."""

    replays = False

    organization = Text(
        max_length=220,
        default="",
        allow_blank=True,
        help_text="whose key; else the caller's own organization, or the platform",
    )
    name = Text(max_length=100, help_text="what will use it")
    scopes = serializers.ListField(child=Choice([(one, one) for one in SCOPES]), min_length=1)
    expires_at = Instant(required=False, help_text="else never")


class Rotation(Body):
    """How long the old key goes on."""

    replays = False

    overlap_hours = Whole(default=24, min_value=0, max_value=HOURS)


class ApiKeys(ApiView):
    """All that there are."""

    @operation(
        "list_api_keys",
        tag=TAG,
        scope="api_keys:read",
        query=ListQuery,
        answers={200: list_of(ApiKeyShape, "ApiKeyList")},
    )
    def get(self, request: Request) -> Response:
        """List API keys, those that no longer work too."""
        rows = self.theirs(ApiKey.objects.select_related("organization"))
        found = page(rows, self.query(), among=rows)
        return self.listing(ApiKeyShape, found, found.rows)

    @operation(
        "create_api_key",
        tag=TAG,
        scope="api_keys:write",
        body=NewApiKey,
        answers={201: NewApiKeyShape},
    )
    def post(self, request: Request) -> Response:
        """Make an API key.

        The answer is the only one that holds the key, and is kept nowhere: there is no
        Idempotency-Key here. A key makes keys with scopes that it has itself; an owner with any.
        """
        wanted = self.body()
        made = services.create_api_key(
            self.organization_id(wanted["organization"]),
            name=wanted["name"],
            scopes=wanted["scopes"],
            expires_at=wanted.get("expires_at"),
            actor=self.actor,
            at=self.received_at,
        )
        return self.answer(NewApiKeyShape, shown(made), status=201)


class RotateApiKey(ApiView):
    """A key in place of another."""

    @operation(
        "rotate_api_key",
        tag=TAG,
        scope="api_keys:write",
        body=Rotation,
        answers={201: NewApiKeyShape},
    )
    def post(self, request: Request, api_key: str) -> Response:
        """Make a key that may do the same, and let the old one expire.

        Both work for `overlap_hours`, so that programs can be moved over one by one.
        """
        row = self.own(ApiKey.objects.all(), api_key, "API key")
        overlap = timedelta(hours=self.body()["overlap_hours"])
        made = services.rotate_api_key(
            row.public_id, overlap=overlap, actor=self.actor, at=self.received_at
        )
        return self.answer(NewApiKeyShape, shown(made), status=201)


class RevokeApiKey(ApiView):
    """A key that works no longer."""

    @operation(
        "revoke_api_key",
        tag=TAG,
        scope="api_keys:write",
        body=NoBody,
        answers={200: ApiKeyShape},
    )
    def post(self, request: Request, api_key: str) -> Response:
        """Revoke an API key: it is refused from the next request on. Safe to repeat."""
        row = self.own(ApiKey.objects.all(), api_key, "API key")
        self.body()
        row = services.revoke_api_key(row.public_id, actor=self.actor, at=self.received_at)
        return self.answer(ApiKeyShape, row)


def shown(made: NewKey) -> dict[str, Any]:
    """Return a key just made as its shape reads it."""
    row = made.row
    row.refresh_from_db()  # the database has dated it
    names = ("public_id", "created_at", "name", "prefix", "scopes", "organization", "expires_at",
             "revoked_at", "last_used_at")  # fmt: skip
    return {**{name: getattr(row, name) for name in names}, "key": made.secret}
