"""`manage.py trust_issuer`: whose tokens say who calls the API."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import comma_separated, now
from apps.core import rls
from apps.tenants import services
from apps.tenants.services import IssuerTerms


class Command(BaseCommand):
    """Trust an issuer of tokens, change its terms, or trust it no more."""

    help = (
        "Trust an issuer of tokens (Clerk, or any of OpenID Connect), or change its terms; safe to"
        " repeat. Name an audience or an authorized party: else any of its tokens would come in."
    )
    examples = (
        "  manage.py trust_issuer https://id.example --audience billing"
        " --jwks https://id.example/jwks.json\n"
        "  manage.py trust_issuer https://clerk.example --kind clerk --public-key clerk.pem"
        " --parties https://app.example --application desk"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take who, and on which terms."""
        parser.add_argument("issuer", metavar="ISSUER", help="`iss`, exactly as its tokens say it")
        parser.add_argument("--kind", default="oidc", choices=("oidc", "clerk"))
        parser.add_argument("--application", default="", metavar="SLUG", help="default: any")
        parser.add_argument("--audience", type=comma_separated, default=[], metavar="A,B")
        parser.add_argument("--parties", type=comma_separated, default=[], metavar="A,B")
        parser.add_argument("--jwks", default="", metavar="URL", help="where its keys are")
        parser.add_argument(
            "--public-key", type=Path, metavar="FILE", help="PEM, instead of --jwks"
        )
        parser.add_argument("--role", type=mapping, action="append", default=[], metavar="A=OURS")
        parser.add_argument("--believe-email", action="store_true", help="verified ones name users")
        parser.add_argument("--disable", action="store_true", help="take its tokens no more")

    def run(self, **options: Any) -> None:
        """Trust it, or no more."""
        issuer, at = options["issuer"], now()
        with rls.ops_scope("trust_issuer"):
            if options["disable"]:
                row = services.disable_token_issuer(issuer, actor=self.actor, at=at)
            else:
                row = services.define_token_issuer(
                    issuer, terms=terms_of(options), actor=self.actor, at=at
                )
        shown = {"id": row.public_id, "issuer": row.issuer, "disabled": bool(row.disabled_at)}
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Id", "Issuer", "Disabled"], [[*shown.values()]])
        self.note(f"Tokens of {row} count{' no more' if row.disabled_at else ''}.")


def terms_of(options: dict[str, Any]) -> IssuerTerms:
    """Return the terms that the options say."""
    file = options["public_key"]
    return IssuerTerms(
        kind=options["kind"],
        application=options["application"],
        audiences=tuple(options["audience"]),
        authorized_parties=tuple(options["parties"]),
        jwks_url=options["jwks"],
        public_key=file.read_text(encoding="utf-8") if file else "",
        role_map=dict(options["role"]),
        matches_email=options["believe_email"],
    )


def mapping(text: str) -> tuple[str, str]:
    """Read THEIRS=OURS for argparse."""
    theirs, equals, ours = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' maps nothing; write THEIRS=OURS")
    return theirs.strip(), ours.strip()
