"""`manage.py preview_dunning`: who would be asked what, and when."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside_owner_of, now
from apps.core import rls
from apps.dunning import selectors, writing
from apps.dunning.models import CampaignVersion
from apps.dunning.selectors import Foreseen
from apps.engine.dunning import Cause
from apps.engine.period import iso
from apps.invoicing import selectors as invoicing
from apps.notifications import dunning as mails
from apps.payments.events import DeclineClass


class Command(BaseCommand):
    """Show the steps that dunning would take for an invoice, with their dates and mails."""

    help = (
        "Show when each step of a dunning campaign would come for an invoice if a run began now,"
        " and with --mails every mail as the customer would see it, in their language. Without"
        " --campaign it is the one that is for this invoice. Writes nothing."
    )
    examples = (
        "  manage.py preview_dunning CH-000007\n"
        "  manage.py preview_dunning CH-000007 --because failed --decline method --mails"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take of which invoice, and why it would be asked for."""
        parser.add_argument("invoice", metavar="INVOICE", help="number or id")
        parser.add_argument("--campaign", metavar="NAME", help="name or id")
        causes, classes = [one.value for one in Cause], [one.value for one in DeclineClass]
        parser.add_argument("--because", choices=causes, default=causes[0])
        parser.add_argument("--decline", choices=classes, default="", help="class of the decline")
        parser.add_argument("--mails", action="store_true", help="show the mails as well")

    def run(self, **options: Any) -> None:
        """Show the steps, and the mails."""
        chosen = _version(options["campaign"])
        with inside_owner_of(options["invoice"], "preview_dunning"):
            invoice = invoicing.get(options["invoice"])
            version = chosen or selectors.version_for(invoice)
            found = selectors.foresee(
                version,
                invoice,
                because=Cause(options["because"]),
                decline_class=options["decline"],
                at=now(),
            )
            told = [(one, _mail(one)) for one in found]
        self.note(f"{version}, for {invoice}.")
        if self.as_json:
            self.print_json([_json(one, mail) for one, mail in told])
            return
        self.print_table(["When", "Step", "Subject"], [_row(one, mail) for one, mail in told])
        for _, mail in told if options["mails"] else []:
            if mail:
                self.stdout.write(f"\n=== {mail['subject']}\n{mail['text']}")


def _version(name: str | None) -> CampaignVersion | None:
    if not name:
        return None
    with rls.ops_scope("preview_dunning: find the campaign"):
        return selectors.current(selectors.get_campaign(name))


def _mail(one: Foreseen) -> dict[str, str]:
    if one.told is None:
        return {}
    mail = mails.preview(one.told)
    return {"subject": mail.subject, "text": mail.text}


def _row(one: Foreseen, mail: dict[str, str]) -> tuple[str, str, str]:
    return iso(one.coming.at), writing.write_step(one.coming.step), mail.get("subject", "")


def _json(one: Foreseen, mail: dict[str, str]) -> dict[str, Any]:
    step = writing.write_step(one.coming.step)
    return {"at": iso(one.coming.at), "step": step, "mail": mail or None}
