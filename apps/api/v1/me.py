"""`/me`: whose key this is."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.schema import operation
from apps.api.shapes import Kind, LiveMode, Shape, public_id
from apps.tenants.models import ApiKey


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


class Me(ApiView):
    """The key that calls."""

    @operation("get_me", tag="Me", answers={200: ApiKeyShape})
    def get(self, request: Request) -> Response:
        """Get the API key that calls.

        The first call of an integration: it tells whose key this is and what it may do.
        """
        holder = self.caller.holder
        row = ApiKey.objects.select_related("organization").get(pk=holder.key_id)
        return self.answer(ApiKeyShape, row)
