"""`/me`: whose key this is, or whose token."""

from __future__ import annotations

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.schema import operation
from apps.api.shapes import Choice, Kind, LiveMode, Shape, public_id
from apps.api.v1.api_keys import ApiKeyShape
from apps.tenants.models import ApiKey, Membership


class MemberShape(Shape):
    """A person at work in one organization."""

    object = Kind("member")
    id = public_id("usr", source="user.public_id")
    livemode = LiveMode()
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    organization = public_id("org", source="organization.public_id")
    role = Choice(Membership.Role.choices)


class Me(ApiView):
    """Who calls."""

    @operation(
        "get_me",
        tag="Me",
        answers={
            200: PolymorphicProxySerializer(
                component_name="Caller",
                serializers={"api_key": ApiKeyShape, "member": MemberShape},
                resource_type_field_name="object",
            )
        },
    )
    def get(self, request: Request) -> Response:
        """Get the API key, or the person, that calls.

        The first call of an integration: it tells whose key this is and what it may do.
        """
        holder = self.caller.holder
        if holder is None:
            people = Membership.objects.select_related("user", "organization")
            return self.answer(MemberShape, people.get(user__public_id=self.actor.id))
        row = ApiKey.objects.select_related("organization").get(pk=holder.key_id)
        return self.answer(ApiKeyShape, row)
