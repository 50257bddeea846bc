"""The team: members and their roles, invitations."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.core import clock
from apps.core.errors import DomainError, Forbidden, NotFound
from apps.portal import words
from apps.portal.access import PortalRequest, page
from apps.portal.forms import InviteForm, Refusing, RoleForm
from apps.portal.refusals import sentence
from apps.tenants import roles, selectors, services


@page("team", "view_members", methods=("GET", "HEAD", "POST"))
def team(request: PortalRequest) -> HttpResponse:
    """Show who is in, and invite."""
    if request.method != "POST":
        return _show(request, InviteForm(offered=_offered(request)))
    form = InviteForm(request.POST, offered=_offered(request))
    if form.is_valid() and _invited(request, form):
        email = form.cleaned_data["email"]
        messages.success(request, _("%(email)s is invited.") % {"email": email})
        return redirect("portal:team")
    return _show(request, form, status=422)


def _show(request: PortalRequest, form: InviteForm, status: int = 200) -> HttpResponse:
    organization_id = request.organization.pk
    context = {
        "members": selectors.members(organization_id),
        "invitations": selectors.open_invitations(organization_id, at=clock.now()),
        "form": form,
        "roles": words.ROLES,
        "meanings": [(role, words.ROLE_MEANINGS[role]) for role in roles.ROLES],
        "me": request.actor.id,
    }
    return render(request, "portal/team.html", context, status=status)


def _offered(request: PortalRequest) -> tuple[str, ...]:
    """Return the roles this member may offer: nobody offers more than they hold."""
    if request.actor.may("manage_roles"):
        return roles.ROLES
    return (roles.ADMIN, roles.MEMBER)


def _invited(request: PortalRequest, form: InviteForm) -> bool:
    with Refusing(form):
        services.invite_member(
            request.organization.pk,
            email=form.cleaned_data["email"],
            role=form.cleaned_data["role"],
            actor=request.actor,
            at=clock.now(),
        )
        return True
    return False


@page("team", "manage_roles", methods=("POST",))
def change_role(request: PortalRequest, member: str) -> HttpResponse:
    """Give a member another role."""
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose one of the roles."))
        return redirect("portal:team")
    role = form.cleaned_data["role"]
    try:
        services.change_role(member, role=role, actor=request.actor, at=clock.now())
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        messages.success(request, _("The role is changed."))
    return redirect("portal:team")


@page("team", "manage_roles", methods=("POST",))
def remove(request: PortalRequest, member: str) -> HttpResponse:
    """Take a member's access away."""
    try:
        services.remove_member(member, actor=request.actor, at=clock.now())
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        messages.success(request, _("The member is removed."))
    return redirect("portal:team")


@page("team", "manage_roles", methods=("POST",))
def transfer(request: PortalRequest, member: str) -> HttpResponse:
    """Make a member owner in the place of who asks, who becomes billing admin."""
    mine = selectors.membership_of(request.organization.pk, request.actor.id)
    try:
        services.transfer_ownership(
            mine.public_id, successor=member, actor=request.actor, at=clock.now()
        )
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        messages.success(request, _("The organization has a new owner; you are billing admin."))
    return redirect("portal:team")


@page("team", "invite_members", methods=("POST",))
def resend(request: PortalRequest, invitation: str) -> HttpResponse:
    """Invite again, by another mail."""
    row = services.resend_invitation(invitation, actor=request.actor, at=clock.now())
    messages.success(request, _("%(email)s is invited.") % {"email": row.email})
    return redirect("portal:team")


@page("team", "invite_members", methods=("POST",))
def revoke(request: PortalRequest, invitation: str) -> HttpResponse:
    """Withdraw an invitation."""
    services.revoke_invitation(invitation, actor=request.actor, at=clock.now())
    messages.success(request, _("The invitation is withdrawn; its link no longer works."))
    return redirect("portal:team")
