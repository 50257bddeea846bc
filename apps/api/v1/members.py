"""`/members` and `/invitations`: who belongs to an organization, and who is asked to."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import Body, Choice, Kind, LiveMode, NoBody, Shape, Text, list_of, public_id
from apps.core.errors import Invalid
from apps.tenants import services
from apps.tenants.models import Invitation, Membership

TAG = "Members"
ROLES = Membership.Role.choices


class MembershipShape(Shape):
    """A person's role in an organization."""

    object = Kind("membership")
    id = public_id("mem", source="public_id")
    created_at = serializers.DateTimeField()
    livemode = LiveMode()
    organization = public_id("org", source="organization.public_id")
    user = public_id("usr", source="user.public_id")
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = Choice(ROLES)


class InvitationShape(Shape):
    """An offer of a role."""

    object = Kind("invitation")
    id = public_id("invt", source="public_id")
    created_at = serializers.DateTimeField()
    livemode = LiveMode()
    organization = public_id("org", source="organization.public_id")
    email = serializers.EmailField()
    role = Choice(ROLES)
    expires_at = serializers.DateTimeField()
    accepted_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class PeopleQuery(ListQuery):
    """Whose."""

    organization = Text(required=False, max_length=220, help_text="id, slug or `ext:` id")


class RoleBody(Body):
    """Another role."""

    role = Choice(ROLES)


class Successor(Body):
    """Who becomes owner."""

    to = Text(max_length=40, help_text="the public id (`mem_…`) of another membership")


class NewInvitation(Body):
    """Whom to ask, and as what."""

    organization = Text(max_length=220, default="", allow_blank=True, help_text="else the caller's")
    email = Text(max_length=254)
    role = Choice(ROLES)


class Members(ApiView):
    """All of them."""

    @operation(
        "list_members",
        tag=TAG,
        scope="members:read",
        query=PeopleQuery,
        answers={200: list_of(MembershipShape, "MembershipList")},
    )
    def get(self, request: Request) -> Response:
        """List members with their roles."""
        wanted = self.query()
        among = self.theirs(
            Membership.objects.select_related("user", "organization"),
            organization=wanted.get("organization", ""),
        )
        found = page(among, wanted, among=among)
        return self.listing(MembershipShape, found, found.rows)


class OneMember(ApiView):
    """One of them."""

    @operation(
        "change_role",
        tag=TAG,
        scope="members:write",
        body=RoleBody,
        answers={200: MembershipShape},
    )
    def patch(self, request: Request, member: str) -> Response:
        """Give a member another role.

        Owners do, and keys of the platform. An organization keeps at least one owner.
        """
        row, wanted = self.own(Membership.objects.all(), member, "member"), self.body()
        row = services.change_role(
            row.public_id, role=wanted["role"], actor=self.actor, at=self.received_at
        )
        return self.answer(MembershipShape, row)

    @operation(
        "remove_member",
        tag=TAG,
        scope="members:write",
        body=NoBody,
        answers={200: MembershipShape},
    )
    def delete(self, request: Request, member: str) -> Response:
        """Remove a member, whose tokens and sessions open nothing here from the next request on.

        Owners do, and keys of the platform. An organization keeps at least one owner.
        """
        rows = Membership.objects.select_related("user", "organization")
        row = self.own(rows, member, "member")
        self.body()
        services.remove_member(row.public_id, actor=self.actor, at=self.received_at)
        return self.answer(MembershipShape, row)


class TransferOwnership(ApiView):
    """An owner hands over."""

    @operation(
        "transfer_ownership",
        tag=TAG,
        scope="members:write",
        body=Successor,
        answers={200: MembershipShape},
    )
    def post(self, request: Request, member: str) -> Response:
        """Make another member owner in place of this one, who becomes billing admin.

        Owners do, and keys of the platform. Answers the new owner.
        """
        row, wanted = self.own(Membership.objects.all(), member, "member"), self.body()
        heir = services.transfer_ownership(
            row.public_id, successor=wanted["to"], actor=self.actor, at=self.received_at
        )
        return self.answer(MembershipShape, heir)


class Invitations(ApiView):
    """All of them."""

    @operation(
        "list_invitations",
        tag=TAG,
        scope="members:read",
        query=PeopleQuery,
        answers={200: list_of(InvitationShape, "InvitationList")},
    )
    def get(self, request: Request) -> Response:
        """List invitations, those that are over too."""
        wanted = self.query()
        among = self.theirs(
            Invitation.objects.select_related("organization"),
            organization=wanted.get("organization", ""),
        )
        found = page(among, wanted, among=among)
        return self.listing(InvitationShape, found, found.rows)

    @operation(
        "invite_member",
        tag=TAG,
        scope="members:write",
        body=NewInvitation,
        answers={201: InvitationShape},
    )
    def post(self, request: Request) -> Response:
        """Invite somebody by mail; the link lasts 7 days.

        Nobody offers more than they hold: owners and billing admins are invited by owners and by
        keys of the platform.
        """
        wanted = self.body()
        organization_id = self.organization_id(wanted["organization"])
        if organization_id is None:
            raise Invalid("Name the organization.", param="organization")
        row = services.invite_member(
            organization_id,
            email=wanted["email"],
            role=wanted["role"],
            actor=self.actor,
            at=self.received_at,
        )
        row.refresh_from_db()  # the database has dated it
        return self.answer(InvitationShape, row, status=201)


class ResendInvitation(ApiView):
    """An invitation, again."""

    @operation(
        "resend_invitation",
        tag=TAG,
        scope="members:write",
        body=NoBody,
        answers={201: InvitationShape},
    )
    def post(self, request: Request, invitation: str) -> Response:
        """Invite again for 7 days, by another mail; the former link stops working."""
        row = self.own(Invitation.objects.all(), invitation, "invitation")
        self.body()
        made = services.resend_invitation(row.public_id, actor=self.actor, at=self.received_at)
        made.refresh_from_db()
        return self.answer(InvitationShape, made, status=201)


class RevokeInvitation(ApiView):
    """An invitation that is withdrawn."""

    @operation(
        "revoke_invitation",
        tag=TAG,
        scope="members:write",
        body=NoBody,
        answers={200: InvitationShape},
    )
    def post(self, request: Request, invitation: str) -> Response:
        """Withdraw an invitation: its link stops working."""
        row = self.own(Invitation.objects.all(), invitation, "invitation")
        self.body()
        services.revoke_invitation(row.public_id, actor=self.actor, at=self.received_at)
        row.refresh_from_db()
        return self.answer(InvitationShape, row)
