"""Licences, the installations they are for, and the keys that sign them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import BigScreen, Screen
from apps.core import clock
from apps.licensing import selectors, services
from apps.licensing.models import LONGEST_GRACE, LONGEST_LIFETIME, Instance, License, SigningKey
from apps.tenants.models import Organization

TONES = {
    "valid": "success",
    "grace": "warning",
    "superseded": "info",
    "revoked": "danger",
    "expired": "",
    "signing": "success",
    "next": "info",
    "withdrawn": "danger",
}


class NothingForm(Question):
    """A confirmation."""


class WhyForm(Question):
    """Why."""

    because = forms.CharField(max_length=200, label="Reason")


class KeyForm(Question):
    """What kind of key."""

    algorithm = forms.ChoiceField(choices=SigningKey.Algorithm.choices)


class RotateForm(Question):
    """What became of the old key."""

    compromised = forms.BooleanField(
        required=False, help_text="Withdraw the old key, and revoke all that it signed."
    )


class TermsForm(Question):
    """How licences are."""

    lifetime_days = forms.IntegerField(min_value=1, max_value=LONGEST_LIFETIME)
    grace_days = forms.IntegerField(min_value=0, max_value=LONGEST_GRACE)
    bound = forms.BooleanField(required=False, help_text="Each is for one instance.")


def ask_licence_terms(screen: Screen, request: HttpRequest, row: Organization) -> HttpResponse:
    """Ask how long an organization's licences last, and whether each is for one instance."""
    terms = selectors.terms_of(row.pk)
    initial = {
        "lifetime_days": terms.lifetime.days,
        "grace_days": terms.grace.days,
        "bound": terms.bound,
    }
    question = Ask(
        f"Licences of {row}",
        "From the next licence on. One of a year cannot be taken back from an installation that"
        " never connects.",
        "Save",
        TermsForm,
        initial=initial,
    )

    def run(answers: Answers) -> str:
        services.set_license_terms(row.pk, **answers, actor=actor_of(request), at=time_of(row))
        return "Saved."

    return ask(screen, request, question, run=run, back=cells.url_of(row), row=row)


class LicenseScreen(BigScreen):
    """What was signed."""

    view_capability = "view_licences"
    list_display = ("code", "customer", "plan", "instance_name", "state", "issued", "ends")
    list_select_related = ("organization", "instance")
    list_filter = ("plan",)
    lookups = ("organization", "instance", "key")
    search_fields = ("=public_id", "organization__name", "^organization__slug", "^instance__name")
    search_help_text = "Id, customer or instance"
    ordering = ("-id",)
    actions_detail = ("revoke",)

    @column("Licence", order="id")
    def code(self, row: License) -> object:
        """Its id."""
        return cells.code(row.public_id)

    @column("Organization", order="organization__name")
    def customer(self, row: License) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Instance")
    def instance_name(self, row: License) -> object:
        """The installation it is for."""
        return row.instance.name if row.instance else "any"

    @column("State")
    def state(self, row: License) -> object:
        """How it stands."""
        return _state(row)

    @column("Issued", order="issued_at")
    def issued(self, row: License) -> object:
        """When it was signed."""
        return cells.when(row.issued_at)

    @column("Ends", order="ends_at")
    def ends(self, row: License) -> object:
        """Until when it is good, the grace included."""
        return cells.when(row.ends_at)

    def facts(self, row: License) -> Sequence[Fact]:
        """Whose it is, its times, and what became of it."""
        return [
            Fact("State", _state(row)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Instance", cells.link_to(row.instance) if row.instance else "any"),
            Fact("Plan", row.plan),
            Fact("Issued", cells.when(row.issued_at)),
            Fact("Renew by", cells.when(row.expires_at)),
            Fact("Ends", cells.when(row.ends_at)),
            Fact("Superseded", cells.when(row.superseded_at)),
            Fact("Revoked", cells.when(row.revoked_at)),
            Fact("Because", row.revoked_because or cells.EMPTY),
            Fact("Revoked by", row.revoked_by or cells.EMPTY),
            Fact("Key", cells.code(row.key_id)),
            Fact("Id", cells.code(row.public_id)),
        ]

    def panels(self, request: HttpRequest, row: License) -> Sequence[Panel]:
        """Show what it grants, and every claim."""
        granted = [
            *sorted(row.claims["features"].items()),
            *sorted(row.claims["limits"].items()),
        ]
        said = [(cells.code(name), json.dumps(value)) for name, value in granted]
        claims = [(cells.code(name), cells.code(json.dumps(v))) for name, v in row.claims.items()]
        return [
            Panel("Features and limits", ("Feature", ">Licensed"), said),
            Panel("Claims", ("Claim", "Value"), claims),
        ]

    @act(
        "Revoke",
        capability="manage_licences",
        icon="block",
        danger=True,
        applies=lambda row: row.revoked_at is None,
        otherwise=lambda row: "This licence was revoked already.",
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it counts no more."""
        row = self.row(request, object_id)
        question = Ask(
            f"Revoke {row}",
            "At once where it is verified here, elsewhere by the list of revoked licences. The next"
            " request gets a fresh one.",
            "Revoke",
            WhyForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.revoke_license(
                row.public_id,
                because=answers["because"],
                actor=actor_of(request),
                at=time_of(row),
            )
            return "The licence is revoked."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _state(row: License) -> SafeString:
    at = row.organization.time(clock.now())
    word = selectors.license_facts(row).state(at)
    return cells.badge(word, TONES[word])


class InstanceScreen(Screen):
    """Installations at customers' sites."""

    view_capability = "view_licences"
    list_display = ("name", "customer", "first_seen", "last_seen", "state")
    list_select_related = ("organization",)
    lookups = ("organization",)
    search_fields = ("=public_id", "^name", "organization__name", "^organization__slug")
    search_help_text = "Name or customer"
    ordering = ("-id",)
    actions_detail = ("block", "unblock")

    @column("Organization", order="organization__name")
    def customer(self, row: Instance) -> object:
        """The customer's name."""
        return row.organization.name

    @column("First seen", order="first_seen_at")
    def first_seen(self, row: Instance) -> object:
        """When it first asked for a licence."""
        return cells.when(row.first_seen_at)

    @column("Last seen", order="last_seen_at")
    def last_seen(self, row: Instance) -> object:
        """When it last asked, by the hour."""
        return cells.when(row.last_seen_at)

    @column("State")
    def state(self, row: Instance) -> object:
        """Whether it gets licences."""
        return cells.badge("blocked", "danger") if row.blocked_at else cells.EMPTY

    def facts(self, row: Instance) -> Sequence[Fact]:
        """When it was seen, and what it reported last."""
        found = selectors.instances_of(row.organization_id)
        report = next(one.report for one in found if one.name == row.name)
        return [
            Fact("Organization", cells.link_to(row.organization)),
            Fact("First seen", cells.when(row.first_seen_at)),
            Fact("Last seen", cells.when(row.last_seen_at)),
            Fact("Blocked", cells.when(row.blocked_at)),
            Fact("Devices in use", cells.EMPTY if report is None else report.active),
            Fact("Devices", cells.EMPTY if report is None else report.total),
            Fact("Reported", cells.when(None if report is None else report.reported_at)),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act(
        "Block",
        capability="manage_licences",
        icon="block",
        danger=True,
        applies=lambda row: row.blocked_at is None,
        otherwise=lambda row: "This instance is blocked already.",
    )
    def block(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it gets no licence any more."""
        row = self.row(request, object_id)
        explain = "Its licences are revoked, and it gets none any more."
        question = Ask(f"Block {row}", explain, "Block", NothingForm, danger=True)

        def run(answers: Answers) -> str:
            services.block_instance(row.public_id, actor=actor_of(request), at=time_of(row))
            return "The instance is blocked."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Unblock",
        capability="manage_licences",
        icon="lock_open",
        applies=lambda row: row.blocked_at is not None,
        otherwise=lambda row: "This instance is not blocked.",
    )
    def unblock(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether it may have licences again."""
        row = self.row(request, object_id)
        explain = "It may fetch licences again; those that were revoked stay so."
        question = Ask(f"Unblock {row}", explain, "Unblock", NothingForm)

        def run(answers: Answers) -> str:
            services.unblock_instance(row.public_id, actor=actor_of(request), at=time_of(row))
            return "The instance may fetch licences again."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


class SigningKeyScreen(Screen):
    """Keys: their public halves. The private ones are shown to nobody."""

    view_capability = "view_platform"
    list_display = ("kid", "algorithm", "state", "made", "until")
    search_fields = ("=kid",)
    ordering = ("-id",)
    actions_list = ("generate", "rotate")

    def public_id(self, row: SigningKey) -> str:
        """Return what the audit knows it by."""
        return row.kid

    @column("State", order="status")
    def state(self, row: SigningKey) -> object:
        """Whether it signs."""
        return cells.badge(row.status, TONES.get(row.status, ""))

    @column("Made", order="made_at")
    def made(self, row: SigningKey) -> object:
        """When it was made or taken over."""
        return cells.when(row.made_at)

    @column("Published until")
    def until(self, row: SigningKey) -> object:
        """When all that it signed has ended."""
        return cells.when(row.published_until)

    def facts(self, row: SigningKey) -> Sequence[Fact]:
        """Its life, and its public half."""
        return [
            Fact("State", cells.badge(row.status, TONES.get(row.status, ""))),
            Fact("Algorithm", row.get_algorithm_display()),
            Fact("Made", cells.when(row.made_at)),
            Fact("Signs from", cells.when(row.signs_from)),
            Fact("Retired", cells.when(row.retired_at)),
            Fact("Published until", cells.when(row.published_until)),
            Fact("Public key", cells.code(row.public_pem)),
            Fact("Id", cells.code(row.kid)),
        ]

    @act("Make the next key", capability="manage_platform", icon="add")
    def generate(self, request: HttpRequest) -> HttpResponse:
        """Ask for the key that is to sign next."""
        question = Ask(
            "Make the next key",
            "It is published at once, so that installations can be given it, and signs after the"
            " rotation. The first key signs at once.",
            "Make it",
            KeyForm,
        )

        def run(answers: Answers) -> str:
            services.generate_signing_key(
                answers["algorithm"], actor=actor_of(request), at=clock.now()
            )
            return "The key is published."

        return ask(self, request, question, run=run, back=cells.list_url(SigningKey))

    @act("Rotate", capability="manage_platform", icon="autorenew", danger=True)
    def rotate(self, request: HttpRequest) -> HttpResponse:
        """Ask whether the next key signs from now on."""
        question = Ask(
            "Rotate",
            "The next key, or a new one, signs from now on. What the old key signed stays good"
            " until it ends.",
            "Rotate",
            RotateForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.rotate_signing_key(
                compromised=answers["compromised"], actor=actor_of(request), at=clock.now()
            )
            return "Another key signs from now on."

        return ask(self, request, question, run=run, back=cells.list_url(SigningKey))
