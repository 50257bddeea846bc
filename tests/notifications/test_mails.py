from __future__ import annotations

import io
from datetime import datetime
from decimal import Decimal

import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.template import engines

from apps.core import clock, outbox, rls
from apps.invoicing import services as invoicing
from apps.invoicing.events import InvoiceFinalized
from apps.notifications import console, handlers
from apps.payments import services as payments
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.tenants.models import Invitation, Organization
from tests.conftest import AT, STAFF, make_organization
from tests.invoicing import world

pytestmark = pytest.mark.django_db


def deliver(at: datetime = world.NOW) -> list[EmailMessage]:
    """Deliver what is due and return the mails that it caused."""
    mail.outbox.clear()
    with clock.frozen(at):
        outbox.deliver_due()
    with rls.ops_scope("test: nothing failed"):
        assert outbox.backlog().pending == 0
    return [*mail.outbox]


def customer(email: str = "billing@acme.example") -> Organization:
    return make_organization("acme", email=email)


def issue(organization: Organization) -> str:
    """Bill one month's base fee of 50.00; return the invoice's number."""
    world.load()
    world.subscribe(organization, start=world.day(6, 1))
    report = invoicing.bill_due(as_of=world.NOW, actor=STAFF, at=world.NOW)
    return str(report.issued[0].number)


def html_of(message: EmailMessage) -> str:
    assert isinstance(message, EmailMultiAlternatives)
    return str(message.alternatives[0][0])


def test_a_final_invoice_is_mailed_with_its_pdf() -> None:
    number = issue(customer())
    [message] = deliver()
    assert message.to == ["billing@acme.example"]
    assert number in message.subject
    assert "$50.00" in str(message.body)
    assert "Payment reference" in str(message.body)
    [(name, content, kind)] = message.attachments
    assert (name, kind) == (f"{number}.pdf", "application/pdf")
    assert content.startswith(b"%PDF-")


def test_without_an_address_nothing_is_mailed() -> None:
    issue(customer(email=""))
    assert deliver() == []


def test_an_invoice_voided_before_its_mail_went_is_not_mailed() -> None:
    organization = customer()
    number = issue(organization)
    with rls.tenant_scope(organization.pk):
        invoicing.void_invoice(number, reason="wrong", actor=STAFF, at=world.NOW)
    assert deliver() == []


def test_a_paid_invoice_is_receipted() -> None:
    organization = customer()
    number = issue(organization)
    deliver()
    with rls.tenant_scope(organization.pk):
        payments.record_payment(number, amount=Decimal(20), actor=STAFF, at=world.NOW)
        assert deliver() == []
        payments.record_payment(number, amount=Decimal(30), actor=STAFF, at=world.NOW)
    [message] = deliver()
    assert message.subject == f"Paid: invoice {number} from Countinghouse"
    assert "$50.00" in str(message.body)


def test_a_credit_note_is_mailed_with_where_its_money_goes() -> None:
    organization = customer()
    number = issue(organization)
    deliver()
    with rls.tenant_scope(organization.pk):
        note = invoicing.issue_credit_note(
            number, reason="other", total=Decimal(10), actor=STAFF, at=world.NOW
        )
    [message] = deliver()
    assert message.subject == f"Credit note {note.number} from Countinghouse: $10.00"
    assert f"on invoice {number}" in str(message.body)
    assert "Less to pay on the invoice: $10.00" in str(message.body)
    [(name, content, _)] = message.attachments
    assert name == f"{note.number}.pdf"
    assert content.startswith(b"%PDF-")


def test_a_fact_told_twice_makes_mails_that_are_one() -> None:
    organization = customer()
    issue(organization)
    [first] = deliver()
    fact = InvoiceFinalized(_cause(first), organization.pk)
    mail.outbox.clear()
    with rls.tenant_scope(organization.pk):
        handlers.mail_invoice(fact)
    [again] = mail.outbox
    assert again.extra_headers["Message-ID"] == first.extra_headers["Message-ID"]
    assert again.attachments == first.attachments


def _cause(message: EmailMessage) -> str:
    return str(message.extra_headers["Message-ID"]).removeprefix("<invoice.").partition("@")[0]


def invite(organization: Organization) -> Invitation:
    with rls.tenant_scope(organization.pk):
        return tenants.invite_member(
            organization.pk, email="jo@acme.example", role="MEMBER", actor=STAFF, at=AT
        )


def test_an_invitation_carries_the_link_that_accepts_it(organization: Organization) -> None:
    invitation = invite(organization)
    [message] = deliver(AT)
    assert message.to == ["jo@acme.example"]
    token = str(message.body).partition("/portal/invitations/")[2].partition("/")[0]
    with rls.ops_scope("test: find the invitation"):
        assert tenant_selectors.find_invitation(token, at=AT) == invitation


def test_a_withdrawn_invitation_is_not_mailed(organization: Organization) -> None:
    invitation = invite(organization)
    with rls.tenant_scope(organization.pk):
        tenants.revoke_invitation(invitation.public_id, actor=STAFF, at=AT)
    assert deliver(AT) == []


def test_a_name_full_of_markup_and_line_breaks_stays_a_name() -> None:
    name = 'Evil\r\nBcc: all@example.com <script>alert("x")</script>'
    organization = make_organization("evil", name=name)
    invite(organization)
    [message] = deliver(AT)
    assert "\n" not in message.subject
    assert message.recipients() == ["jo@acme.example"]
    assert "Bcc" not in message.message()
    assert "<script>" not in html_of(message)
    assert '<script>alert("x")</script>' in str(message.body)


def test_on_a_laptop_attachments_are_named_and_not_poured_out() -> None:
    stream = io.StringIO()
    message = EmailMessage("Subject", "Body", to=["jo@acme.example"])
    message.attach("CH-000001.pdf", b"%PDF-" + b"x" * 10_000, "application/pdf")
    console.EmailBackend(stream=stream).send_messages([message])
    assert "[attached: CH-000001.pdf, 10,005 bytes]" in stream.getvalue()
    assert len(stream.getvalue()) < 400


def test_every_mail_has_its_three_templates() -> None:
    for name in ("invitation", "invoice", "receipt"):
        for part in ("subject.txt", "txt", "html"):
            assert engines["django"].get_template(f"mail/{name}.{part}")


def test_on_a_laptop_mails_stay_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.EmailBackend().send_messages([EmailMessage("Subject", "Body", to=["jo@acme.example"])])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Mail to jo@acme.example: Subject" in shown.err
