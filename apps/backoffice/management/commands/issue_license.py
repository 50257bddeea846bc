"""`manage.py issue_license`: sign a licence for an organization or one of its instances."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now
from apps.core.errors import Invalid
from apps.engine.period import iso
from apps.licensing import services
from apps.licensing.selectors import LicenseFacts
from apps.tenants.models import Organization

TERMS = ("lifetime_days", "grace_days")


class Command(BaseCommand):
    """Sign what an organization has now."""

    help = (
        "Sign a licence of what an organization has now and print it. It takes the last one's"
        " place. --lifetime-days, --grace-days and --bound are agreed with the organization first,"
        " for this one and those to come."
    )
    examples = (
        "  manage.py issue_license acme --instance plant-1 --format token > licence.jwt\n"
        "  manage.py issue_license acme --lifetime-days 366 --grace-days 30"
    )
    formats = ("table", "json", "token")

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, for what, and how long."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument(
            "--application", default="", help="slug; needed where there are several"
        )
        parser.add_argument("--instance", default="", help="for this installation only")
        parser.add_argument("--lifetime-days", type=int, help="agree that licences last so long")
        parser.add_argument("--grace-days", type=int, help="and are good so much longer")
        parser.add_argument("--bound", action="store_true", help="and are each for one instance")

    def run(self, **options: Any) -> None:
        """Agree what is said, sign, and print."""
        with inside(options["organization"], "issue_license") as organization:
            self._agree(organization, options)
            made = services.issue_license(
                organization.pk,
                application=options["application"],
                instance=options["instance"],
                actor=self.actor,
                at=now(),
            )
        if self.output_format == "token":
            self.stdout.write(made.token)
        elif self.as_json:
            self.print_json(license_json(made))
        else:
            heads = ["Licence", "Plan", "Instance", "Renew by", "Ends", "Key"]
            ends = iso(made.expires_at), iso(made.ends_at)
            self.print_table(heads, [[made.public_id, made.plan, made.instance, *ends, made.kid]])

    def _agree(self, organization: Organization, options: dict[str, Any]) -> None:
        said = {name: options[name] for name in TERMS if options[name] is not None}
        if not said and not options["bound"]:
            return
        if len(said) < len(TERMS):
            raise Invalid("Say both, --lifetime-days and --grace-days.")
        services.set_license_terms(
            organization.pk, **said, bound=options["bound"], actor=self.actor, at=now()
        )


def license_json(one: LicenseFacts) -> dict[str, Any]:
    """Return a licence as commands print it."""
    return {
        "id": one.public_id,
        "plan": one.plan,
        "instance": one.instance,
        "issued_at": iso(one.issued_at),
        "expires_at": iso(one.expires_at),
        "ends_at": iso(one.ends_at),
        "revoked_at": None if one.revoked_at is None else iso(one.revoked_at),
        "kid": one.kid,
        "claims": one.claims,
        "token": one.token,
    }
