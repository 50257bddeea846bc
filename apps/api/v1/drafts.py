"""What finance does to an invoice: review, issue, void, give up. Keys of the platform only."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.schema import operation
from apps.api.shapes import Body, Kind, NoBody, Shape, Text, public_id
from apps.api.v1.invoices import TAG, InvoiceWithLinesShape, invoice_view, own_invoice
from apps.core.errors import Conflict
from apps.invoicing import selectors, services

SCOPE = "invoices:write"


class Reason(Body):
    """Why."""

    reason = Text(max_length=200, help_text="kept with the invoice")


class GoneShape(Shape):
    """A draft that there is no more."""

    object = Kind("invoice")
    id = public_id("inv")
    deleted = serializers.BooleanField()


class _Act(ApiView):
    """What is done to an invoice."""

    def mine(self, invoice: str) -> str:
        """Return the public id of the invoice, or refuse."""
        return own_invoice(self, invoice).public_id

    def shown(self, public_id: str, *, status: int = 200) -> Response:
        """Answer the invoice as it is now."""
        row = selectors.get(public_id)
        return self.answer(InvoiceWithLinesShape, invoice_view(row), status=status)


class Approve(_Act):
    """A held draft, let go."""

    @operation(
        "approve_invoice",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=Reason,
        answers={200: InvoiceWithLinesShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Approve a held draft and issue it."""
        found = self.mine(invoice)
        services.approve_invoice(found, **self.body(), actor=self.actor, at=self.at)
        return self.shown(found)


class Hold(_Act):
    """A draft, kept back."""

    @operation(
        "hold_invoice",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=Reason,
        answers={200: InvoiceWithLinesShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Hold a draft until somebody approves it."""
        found = self.mine(invoice)
        services.hold_invoice(found, **self.body(), actor=self.actor, at=self.at)
        return self.shown(found)


class Finalize(_Act):
    """A draft, issued."""

    @operation(
        "finalize_invoice",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=NoBody,
        answers={200: InvoiceWithLinesShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Issue a draft as it stands, its grace over or not. Held ones are approved instead."""
        found = self.mine(invoice)
        self.body()
        services.finalize_invoice(found, actor=self.actor, at=self.at)
        return self.shown(found)


class Refresh(_Act):
    """A draft, computed anew."""

    @operation(
        "refresh_draft",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=NoBody,
        answers={200: InvoiceWithLinesShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Compute a draft anew from what stands now.

        Refused when nothing is left to be billed: discard it then.
        """
        found = self.mine(invoice)
        self.body()
        if services.refresh_draft(found, actor=self.actor, at=self.at) is None:
            raise Conflict("Nothing is left to be billed on this draft; discard it.")
        return self.shown(found)


class Discard(_Act):
    """A draft, thrown away."""

    @operation(
        "discard_draft",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=Reason,
        answers={200: GoneShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Throw a draft away. What it billed waits for the next invoice, or for `bill-now`."""
        found = self.mine(invoice)
        services.discard_draft(found, **self.body(), actor=self.actor, at=self.at)
        return self.answer(GoneShape, {"id": found, "deleted": True})


class Void(_Act):
    """An invoice that never was."""

    @operation(
        "void_invoice",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=Reason,
        answers={200: InvoiceWithLinesShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Void an open invoice; it keeps its number, and what it billed can be billed anew."""
        found = self.mine(invoice)
        services.void_invoice(found, **self.body(), actor=self.actor, at=self.at)
        return self.shown(found)


class Uncollectible(_Act):
    """An invoice that nobody will pay."""

    @operation(
        "mark_uncollectible",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=Reason,
        answers={200: InvoiceWithLinesShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Give up an open invoice: what is due is written off, and may still be paid later."""
        found = self.mine(invoice)
        services.mark_uncollectible(found, **self.body(), actor=self.actor, at=self.at)
        return self.shown(found)


class Rebill(_Act):
    """A void invoice's period, billed again."""

    @operation(
        "rebill_invoice",
        tag=TAG,
        scope=SCOPE,
        platform_only=True,
        body=NoBody,
        answers={201: InvoiceWithLinesShape},
    )
    def post(self, request: Request, invoice: str) -> Response:
        """Bill the period of a void invoice anew, with the usage as it stands now."""
        found = self.mine(invoice)
        self.body()
        made = services.rebill_invoice(found, actor=self.actor, at=self.at)
        return self.shown(made.public_id, status=201)
