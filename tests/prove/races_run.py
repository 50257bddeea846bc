"""The races: who starts, how many may win, and what must be true afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.prove import races_world as world
from tests.prove.ground import ask

Act = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Start:
    """Several who start at the same moment, how many of them win, and queries that find nothing."""

    acts: Sequence[Act]
    winners: int
    wrong: dict[str, str] = field(default_factory=dict)

    def faults(self, outcomes: Sequence[str]) -> Iterator[str]:
        """Yield what came out wrong, from the words of the racers and as superuser."""
        for outcome in outcomes:
            if outcome not in ("won", "refused"):
                yield f"one of them failed: {outcome}"
        if (won := outcomes.count("won")) != self.winners:
            yield f"{won} won, and {self.winners} should have"
        for said, query in self.wrong.items():
            if found := ask(query):
                yield f"{said}: {found[0]}"


def last_uses_of_a_coupon() -> Start:
    """Six organizations want a coupon that has two uses left."""
    code = world.coupon(in_all=2)
    return Start(
        [world.redeem(world.customer(), code) for _ in range(6)],
        winners=2,
        wrong={
            "the counter is not the number of discounts": f"""
                SELECT redeemed, given FROM plans_coupon, LATERAL (
                  SELECT count(*) AS given FROM subscriptions_discount WHERE coupon = '{code}') d
                WHERE code = '{code}' AND (redeemed, given) <> (2, 2)""",
        },
    )


def one_use_each() -> Start:
    """An organization redeems a coupon in four windows, and may have it once."""
    code, organization = world.coupon(each=1), world.customer()
    return Start(
        [world.redeem(organization, code) for _ in range(4)],
        winners=1,
        wrong={
            "it has the coupon more than once": f"""
                SELECT count(*) FROM subscriptions_discount WHERE coupon = '{code}'
                HAVING count(*) <> 1""",
        },
    )


def one_draft() -> Start:
    """Four people issue the same draft."""
    organization, invoice = world.draft()
    return Start([world.issue(organization, invoice) for _ in range(4)], winners=1, wrong=NUMBERS)


def numbers() -> Start:
    """Six drafts are issued at once: all of them, and no number is left out or given twice."""
    drafts = [world.draft() for _ in range(6)]
    return Start([world.issue(*draft) for draft in drafts], winners=6, wrong=NUMBERS)


def payments() -> Start:
    """Four transfers of the whole amount are entered for one invoice."""
    organization, invoice = world.draft()
    world.issue(organization, invoice)()
    return Start(
        [world.pay(organization, invoice, f"transfer {n}") for n in range(4)],
        winners=1,
        wrong={
            "more was taken than was due": """
                SELECT i.number FROM invoicing_invoice i WHERE i.total < (
                  SELECT coalesce(sum(p.amount), 0) FROM payments_payment p
                  WHERE p.invoice_id = i.id)""",
        },
    )


def last_credit() -> Start:
    """A customer has 40.00 of credit and four drafts of 29.00, which are issued at once."""
    organization, drafts = world.drafts_with_credit(4, cents=40_00)
    return Start(
        [world.issue(organization, invoice) for invoice in drafts],
        winners=4,
        wrong={
            "credit paid more or less than there was": f"""
                SELECT sum(credits), sum(total) FROM invoicing_invoice
                WHERE organization_id = {organization}
                HAVING (sum(credits), sum(total)) <> (4000, {4 * 29_00 - 40_00})""",
            "a grant is not what its movements leave": """
                SELECT g.public_id, g.remaining FROM invoicing_creditgrant g
                WHERE g.remaining < 0 OR g.remaining <> (
                  SELECT sum(m.amount) FROM invoicing_creditmovement m WHERE m.grant_id = g.id)""",
        },
    )


def credit_notes() -> Start:
    """Four clerks take 20.00 of 29.00 back at once."""
    organization, invoice = world.draft()
    world.issue(organization, invoice)()
    return Start(
        [world.take_back(organization, invoice) for _ in range(4)],
        winners=1,
        wrong={
            "more was taken back than was billed": """
                SELECT i.number FROM invoicing_invoice i WHERE i.subtotal < (
                  SELECT coalesce(sum(n.total), 0) FROM invoicing_creditnote n
                  WHERE n.invoice_id = i.id)""",
            "numbers of credit notes have gaps or doubles": """
                SELECT count(*), max(sequence) FROM invoicing_creditnote
                HAVING count(*) <> max(sequence) OR count(DISTINCT sequence) <> count(*)""",
        },
    )


NUMBERS = {
    "numbers have gaps or doubles": """
        SELECT count(*), max(sequence) FROM invoicing_invoice WHERE sequence IS NOT NULL
        HAVING count(*) <> max(sequence) OR count(DISTINCT sequence) <> count(*)""",
    "invoices not booked exactly once": """
        SELECT i.number FROM invoicing_invoice i WHERE i.number IS NOT NULL AND 1 <> (
          SELECT count(*) FROM invoicing_ledgertransaction t
          WHERE t.source = i.public_id AND t.kind = 'issued')""",
    "invoices told of not exactly once": """
        SELECT i.number FROM invoicing_invoice i WHERE i.number IS NOT NULL AND 1 <> (
          SELECT count(*) FROM core_outboxevent e WHERE e.name = 'invoicing.InvoiceFinalized'
            AND e.payload ->> 'invoice_id' = i.public_id)""",
}
RACES: dict[str, Callable[[], Start]] = {
    "the last uses of a coupon": last_uses_of_a_coupon,
    "one use for each customer": one_use_each,
    "one draft": one_draft,
    "numbers": numbers,
    "payments": payments,
    "the last credit": last_credit,
    "credit notes": credit_notes,
}
