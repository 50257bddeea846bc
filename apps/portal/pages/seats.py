"""Seats: how many are bought, who sits in them, and who was not seen for long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core.errors import DomainError, Forbidden, NotFound
from apps.portal import quotes
from apps.portal.access import PortalRequest, page
from apps.portal.forms import UNPROCESSABLE, AssignForm, BulkForm, GrowForm, refuse
from apps.portal.refusals import sentence
from apps.seats import bulk, quoting, selectors, services
from apps.seats.errors import BulkRefused
from apps.seats.quoting import Advice
from apps.seats.selectors import PoolFacts
from apps.subscriptions import selectors as agreements
from apps.subscriptions.errors import WrongState

if TYPE_CHECKING:
    from apps.seats.models import Seat

MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Board:
    """One item's seats as the page shows them."""

    pool: PoolFacts
    seats: Sequence[Seat]
    advice: Advice | None

    @property
    def percent(self) -> int:
        """How much of what is bought is assigned."""
        return self.pool.assigned * 100 // self.pool.bought if self.pool.bought else 0

    @property
    def used_percent(self) -> int:
        """How much of what is bought is used."""
        return self.pool.used * 100 // self.pool.bought if self.pool.bought else 0


@page("seats", "assign_seats")
def seats(request: PortalRequest) -> HttpResponse:
    """Show every item's seats, the people in them, and the forms."""
    return _page(request)


@page("seats", "assign_seats", methods=("POST",))
def assign(request: PortalRequest, subscription: str, item: str) -> HttpResponse:
    """Give a member, or whoever an address belongs to, a seat."""
    agreements.get(subscription, organization_id=request.organization.pk)  # or 404
    form = AssignForm(request.POST, auto_id="assign_%s")
    if not form.is_valid():
        return _page(request, assign=form, status=UNPROCESSABLE)
    try:
        seat = services.assign_seat(
            subscription,
            person=form.cleaned_data["person"],
            item=item,
            actor=request.actor,
            at=request.at,
        )
    except (Forbidden, NotFound) as refusal:
        if getattr(refusal, "param", "") != "person":
            raise
        refuse(form, refusal)
        return _page(request, assign=form, status=UNPROCESSABLE)
    except DomainError as refusal:
        refuse(form, refusal)
        return _page(request, assign=form, status=UNPROCESSABLE)
    told = {"person": form.cleaned_data["person"]}
    waits = seat.status == "invited"
    said = _("%(person)s is invited to claim a seat.") if waits else _("%(person)s has a seat.")
    messages.success(request, said % told)
    return redirect("portal:people")


@page("seats", "assign_seats", methods=("POST",))
def revoke(request: PortalRequest, seat: str) -> HttpResponse:
    """Take a seat away."""
    return _acted(request, services.revoke_seat, seat, _("The seat is free; access ended at once."))


@page("seats", "assign_seats", methods=("POST",))
def resend(request: PortalRequest, seat: str) -> HttpResponse:
    """Mail the link to claim a seat again."""
    return _acted(request, services.resend_claim, seat, _("The link is on its way again."))


@page("seats", "assign_seats", methods=("POST",))
def file(request: PortalRequest, subscription: str, item: str) -> HttpResponse:
    """Show what a file would do, row by row, and do it when that is confirmed."""
    agreements.get(subscription, organization_id=request.organization.pk)  # or 404
    form = BulkForm(request.POST, request.FILES, auto_id="file_%s")
    if not form.is_valid():
        return _page(request, file=form, status=UNPROCESSABLE)
    try:
        rows = bulk.read(form.text)
        if "apply" in request.POST:
            done = services.apply_bulk(
                subscription, rows=rows, item=item, actor=request.actor, at=request.at
            )
            count = len(done.rows)
            said = ngettext("%(count)s row is done.", "%(count)s rows are done.", count)
            messages.success(request, said % {"count": count})
            return redirect("portal:people")
        outlooks = services.preview_bulk(subscription, rows=rows, item=item, actor=request.actor)
    except BulkRefused:
        outlooks = services.preview_bulk(subscription, rows=rows, item=item, actor=request.actor)
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        refuse(form, refusal)
        return _page(request, file=form, status=UNPROCESSABLE)
    context = {
        "outlooks": outlooks,
        "text": form.text,
        "subscription": subscription,
        "item": item,
    }
    status = UNPROCESSABLE if outlooks.wrong else 200
    return render(request, "portal/seats_file.html", context, status=status)


@page("seats", "manage_billing", methods=("POST",))
def grow(request: PortalRequest, subscription: str, item: str) -> HttpResponse:
    """Say up to how many seats assigning may buy by itself."""
    agreements.get(subscription, organization_id=request.organization.pk)  # or 404
    form = GrowForm(request.POST, auto_id="grow_%s")
    if not form.is_valid():
        return _page(request, grow=form, status=UNPROCESSABLE)
    up_to = form.cleaned_data["up_to"]
    services.set_auto_expand(
        subscription, up_to=up_to, item=item, actor=request.actor, at=request.at
    )
    said = _("Assigning buys nothing by itself now.")
    if up_to:
        said = _("Assigning buys a seat where none is free, up to %(number)s.") % {
            "number": request.formats.number(up_to)
        }
    messages.success(request, said)
    return redirect("portal:people")


@page("seats", "manage_billing", methods=("GET", "HEAD", "POST"))
def release(request: PortalRequest, subscription: str, item: str) -> HttpResponse:
    """Show what fewer seats save when these people go with the next period, and do it."""
    agreements.get(subscription, organization_id=request.organization.pk)  # or 404
    asked = request.POST if request.method == "POST" else request.GET
    chosen = asked.getlist("seat")[:MOST_SHOWN]
    try:
        if request.method == "POST":
            return _released(request, subscription, item, chosen)
        quote = quoting.quote_seats(
            subscription,
            count=-len(chosen),
            item=item,
            releasing=chosen,
            at=request.at,
            organization_id=request.organization.pk,
        )
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
        return redirect("portal:people")
    rows = selectors.seats(request.organization.pk).filter(public_id__in=chosen)
    context = {
        "quote": quote,
        "saves": -quote.amount,
        "seats": list(rows),
        "facts": quote.considered.before,
        "at": request.at,
    }
    return render(request, "portal/seats_release.html", context)


def _released(
    request: PortalRequest, subscription: str, item: str, chosen: Sequence[str]
) -> HttpResponse:
    facts = agreements.get(subscription, organization_id=request.organization.pk)
    done = services.release_seats(
        subscription,
        count=len(chosen),
        seats=chosen,
        item=item,
        confirmed=quotes.confirmed(request, facts.currency),
        actor=request.actor,
        at=request.at,
    )
    on = {"date": request.formats.day(done.quoted.considered.effective_at, facts.timezone)}
    messages.success(request, _("Scheduled for %(date)s. Until then you can call it off.") % on)
    return redirect("portal:people")


def _acted(
    request: PortalRequest, act: Callable[..., object], seat: str, said: str
) -> HttpResponse:
    try:
        act(seat, actor=request.actor, at=request.at)
    except (Forbidden, NotFound):
        raise
    except DomainError as refusal:
        messages.error(request, sentence(refusal))
    else:
        messages.success(request, said)
    return redirect("portal:people")


def _page(
    request: PortalRequest,
    *,
    assign: AssignForm | None = None,
    file: BulkForm | None = None,
    grow: GrowForm | None = None,
    status: int = 200,
) -> HttpResponse:
    wanted = request.GET.get("q", "").strip()[:200]
    context = {
        "boards": [_board(request, pool, wanted) for pool in _pools(request)],
        "wanted": wanted,
        "assign": assign or AssignForm(auto_id="assign_%s"),
        "file": file or BulkForm(auto_id="file_%s"),
        "grow": grow or GrowForm(auto_id="grow_%s"),
        "template": bulk.TEMPLATE,
    }
    return render(request, "portal/seats.html", context, status=status)


def _pools(request: PortalRequest) -> list[PoolFacts]:
    return selectors.pools(request.organization.pk, at=request.at)


def _board(request: PortalRequest, pool: PoolFacts, wanted: str) -> Board:
    if pool.id is None:
        return Board(pool, (), None)
    rows = selectors.seats(request.organization.pk).filter(pool_id=pool.id)
    if wanted:
        rows = rows.filter(_like(wanted))
    return Board(pool, list(rows[:MOST_SHOWN]), _advice(request, pool))


def _like(wanted: str) -> Any:
    return (
        Q(user__email__icontains=wanted)
        | Q(user__name__icontains=wanted)
        | Q(email__icontains=wanted)
    )


def _advice(request: PortalRequest, pool: PoolFacts) -> Advice | None:
    """Return whose seats stand empty; nothing where fewer cannot be had just now."""
    try:
        found = quoting.coach(request.organization.pk, pool, at=request.at)
    except WrongState:
        return None
    return found if found.seats else None
