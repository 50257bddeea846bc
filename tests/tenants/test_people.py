"""Members: ownership handed over, invitations sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.core.actor import Actor
from apps.core.errors import Conflict, Forbidden, NotFound
from apps.core.models import OutboxEvent
from apps.tenants import roles, selectors, services
from apps.tenants.errors import InvitationInvalid
from apps.tenants.models import Invitation, Membership, Organization
from tests.conftest import STAFF, make_organization

AT = datetime(2026, 3, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def join(organization: Organization, name: str, role: str) -> Membership:
    email = f"{name}@{organization.slug}.example"
    user = services.create_user(email, password="long-enough-1", actor=STAFF, at=AT)
    return services.add_member(organization.pk, user_id=user.pk, role=role, actor=STAFF, at=AT)


def as_(member: Membership) -> Actor:
    held = roles.capabilities_of(member.role)
    return Actor("user", member.user.public_id, member.role, member.organization_id, held)


def roles_of(*members: Membership) -> list[str]:
    return [Membership.objects.get(pk=one.pk).role for one in members]


def test_an_owner_hands_over_and_becomes_billing_admin(
    ops: None, organization: Organization
) -> None:
    ann, bob = join(organization, "ann", "OWNER"), join(organization, "bob", "MEMBER")
    services.transfer_ownership(ann.public_id, successor=bob.public_id, actor=as_(ann), at=AT)
    assert roles_of(ann, bob) == ["BILLING_ADMIN", "OWNER"]


def test_ownership_goes_from_an_owner_to_another_member_and_nowhere_else(
    ops: None, organization: Organization
) -> None:
    ann, eve = join(organization, "ann", "OWNER"), join(organization, "eve", "OWNER")
    bob = join(organization, "bob", "BILLING_ADMIN")
    stranger = join(make_organization("other"), "mallory", "MEMBER")
    refused = (
        (ann, eve, as_(ann), Conflict),
        (bob, ann, as_(ann), Conflict),
        (ann, ann, as_(ann), Conflict),
        (ann, stranger, as_(ann), NotFound),
        (stranger, ann, as_(ann), Forbidden),
        (ann, bob, as_(bob), Forbidden),
    )
    for owner, heir, actor, refusal in refused:
        with pytest.raises(refusal):
            services.transfer_ownership(
                owner.public_id, successor=heir.public_id, actor=actor, at=AT
            )
    assert roles_of(ann, eve, bob, stranger) == ["OWNER", "OWNER", "BILLING_ADMIN", "MEMBER"]


def invited(organization: Organization, role: str = "MEMBER") -> Invitation:
    return services.invite_member(
        organization.pk, email="new@x.example", role=role, actor=STAFF, at=AT
    )


def test_an_invitation_sent_again_counts_in_place_of_the_first(
    ops: None, organization: Organization
) -> None:
    first = invited(organization)
    later = AT + WEEK + timedelta(days=1)  # the first one is over by then
    second = services.resend_invitation(first.public_id, actor=STAFF, at=later)
    assert (second.email, second.role, second.expires_at) == (
        first.email,
        first.role,
        later + WEEK,
    )
    token = selectors.invitation_token(second)
    assert selectors.find_invitation(token, at=later).pk == second.pk
    with pytest.raises(InvitationInvalid):
        selectors.find_invitation(selectors.invitation_token(first), at=AT)
    mailed = OutboxEvent.objects.filter(name__endswith="MemberInvited")
    assert mailed.count() == 2


def test_what_was_withdrawn_is_not_sent_again(ops: None, organization: Organization) -> None:
    row = invited(organization)
    services.revoke_invitation(row.public_id, actor=STAFF, at=AT)
    for act in (services.resend_invitation, services.revoke_invitation):
        with pytest.raises(NotFound):
            act(row.public_id, actor=STAFF, at=AT)
    assert Invitation.objects.count() == 1


def test_an_admin_touches_no_offer_above_their_own(ops: None, organization: Organization) -> None:
    admin = join(organization, "ann", "ADMIN")
    row = invited(organization, "OWNER")
    for act in (services.resend_invitation, services.revoke_invitation):
        with pytest.raises(Forbidden):
            act(row.public_id, actor=as_(admin), at=AT)
    row.refresh_from_db()
    assert row.revoked_at is None
