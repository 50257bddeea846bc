"""`manage.py override_entitlement`: grant one subscription something else than its plan."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, instant, now, the_subscription
from apps.core.errors import Invalid
from apps.engine.period import iso
from apps.entitlements import selectors, services
from apps.entitlements.models import BEHAVIOURS, RESETS
from apps.entitlements.selectors import OverrideFacts
from apps.plans.content import Value
from apps.plans.selectors import GrantRules
from apps.tenants.models import Organization

UNLIMITED = "unlimited"


class Command(BaseCommand):
    """Agree a limit, a switch or a setting with one customer."""

    help = (
        "Grant a subscription something else of a feature than its plan does, from now on, or let"
        " the plan say it again. Replaces the override in force."
    )
    examples = (
        "  manage.py override_entitlement acme atlas_reports 500 --reason 'launch month'"
        " --until 2027-01-01\n"
        "  manage.py override_entitlement acme atlas_reports --end"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, what, by which rules and until when."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("feature", metavar="FEATURE", help="its key")
        parser.add_argument(
            "value", metavar="VALUE", type=granted, nargs="?", help="a number, unlimited, true, …"
        )
        parser.add_argument("--subscription", default="", help="id, application or plan")
        parser.add_argument("--reset", choices=[word for word, _ in RESETS], default="period")
        parser.add_argument("--on-limit", choices=[word for word, _ in BEHAVIOURS], default="block")
        parser.add_argument(
            "--prepaid", action="store_true", help="open as far as credit covers it"
        )
        parser.add_argument("--until", type=instant, help="the first instant without it")
        parser.add_argument("--reason", default="", help="kept on the record")
        parser.add_argument(
            "--end", action="store_true", help="the plan says it again, from now on"
        )

    def run(self, **options: Any) -> None:
        """Set or end it, and show what is agreed with the organization."""
        if options["end"] == (options["value"] is not None):
            raise Invalid("Say a value, or --end.")
        with inside(options["organization"], "override_entitlement") as organization:
            self._change(organization, options)
            found = selectors.overrides_of(organization.pk)
        self._print(found)

    def _change(self, organization: Organization, options: dict[str, Any]) -> None:
        subscription = the_subscription(organization, options["subscription"]).public_id
        if options["end"]:
            for one in selectors.overrides_of(organization.pk):
                if (one.subscription, one.feature) == (subscription, options["feature"]):
                    services.end_override(one.public_id, actor=self.actor, at=now())
            return
        rules = GrantRules(options["reset"], options["on_limit"], options["prepaid"])
        [value] = options["value"]
        services.override_entitlement(
            subscription,
            feature=options["feature"],
            value=value,
            rules=rules,
            until=options["until"],
            reason=options["reason"],
            actor=self.actor,
            at=now(),
        )

    def _print(self, found: list[OverrideFacts]) -> None:
        if self.as_json:
            self.print_json([_json(one) for one in found])
            return
        heads = ["Subscription", "Feature", ">Value", "Resets", "At the limit", "From", "Until"]
        self.print_table([*heads, "Reason"], [_row(one) for one in found])


def granted(text: str) -> tuple[Value]:
    """Read what is granted for argparse, in a tuple: None is a value, unlimited."""
    if text == UNLIMITED:
        return (None,)
    if text in {"true", "false"}:
        return (text == "true",)
    if text.lstrip("-").isdigit():
        return (int(text),)
    if not text.strip():
        raise argparse.ArgumentTypeError("say a number, unlimited, true, false or a text")
    return (text,)


def _row(one: OverrideFacts) -> list[object]:
    value = UNLIMITED if one.value is None else one.value
    ends = "" if one.ends is None else iso(one.ends)
    said = [one.subscription, one.feature, value, one.reset, one.on_limit]
    return [*said, iso(one.starts), ends, one.reason]


def _json(one: OverrideFacts) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "subscription": one.subscription,
        "feature": one.feature,
        "value": one.value,
        "reset": one.reset,
        "on_limit": one.on_limit,
        "prepaid": one.prepaid,
        "starts": iso(one.starts),
        "ends": None if one.ends is None else iso(one.ends),
        "reason": one.reason,
        "set_by": one.set_by,
    }
