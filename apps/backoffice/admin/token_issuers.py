"""The issuers of tokens that are trusted: Clerk, and others of OpenID Connect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import Screen
from apps.core import clock
from apps.core.errors import Conflict
from apps.tenants import services
from apps.tenants.models import Application, TokenIssuer
from apps.tenants.services import IssuerTerms


class Lines(forms.CharField):
    """A few words, one a line; a tuple in Python."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea, required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return the words as lines."""
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> Any:
        """Return the lines as words."""
        if isinstance(value, list | tuple):
            return tuple(value)
        return tuple(line.strip() for line in str(value or "").splitlines() if line.strip())


class RoleMap(Lines):
    """Their roles in ours, one `theirs = OURS` a line; {theirs: OURS} in Python."""

    def prepare_value(self, value: Any) -> Any:
        """Return the table as lines."""
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{theirs} = {ours}" for theirs, ours in value.items())

    def to_python(self, value: Any) -> Any:
        """Return the lines as a table."""
        if isinstance(value, dict):
            return value
        pairs = [line.partition("=") for line in super().to_python(value)]
        return {theirs.strip(): ours.strip() for theirs, _, ours in pairs}


class TermsForm(Question):
    """What define_token_issuer needs besides the issuer."""

    kind = forms.ChoiceField(choices=TokenIssuer.Kind.choices, initial=TokenIssuer.Kind.OIDC)
    application = forms.ChoiceField(
        choices=(), required=False, help_text="Whose external ids its tokens name; none: any's."
    )
    audiences = Lines(help_text="What `aud` may be, one a line: what it calls this system.")
    authorized_parties = Lines(
        help_text="What `azp` may be, one a line: https://app.example.com, or a client's id."
    )
    jwks_url = forms.CharField(
        required=False, max_length=500, label="Key set", help_text="https:// address of its JWKS."
    )
    public_key = forms.CharField(
        required=False,
        widget=forms.Textarea,
        help_text="PEM, instead of the key set: then its keys never need the network.",
    )
    role_map = RoleMap(
        label="Roles",
        help_text="One a line, 'theirs = OWNER'. owner, admin, billing and member are known.",
    )
    matches_email = forms.BooleanField(
        required=False,
        label="Believe its addresses",
        help_text="Whoever proves an e-mail address to it is our user of that address.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["application"]
        rows = Application.objects.all()
        chosen.choices = [("", "Any application"), *((row.slug, row.name) for row in rows)]


class NewIssuerForm(TermsForm):
    """What define_token_issuer needs."""

    issuer = forms.CharField(max_length=255, help_text="`iss`, exactly as its tokens say it.")
    field_order = ("issuer",)


class TokenIssuerScreen(Screen):
    """Whose tokens say who calls the API."""

    list_display = ("issuer", "kind", "whose", "state")
    list_select_related = ("application",)
    search_fields = ("issuer",)
    actions_list = ("create",)
    actions_detail = ("edit", "disable")

    @column("Application")
    def whose(self, row: TokenIssuer) -> object:
        """The application that it speaks for."""
        return row.application or "Any"

    @column("State", order="disabled_at")
    def state(self, row: TokenIssuer) -> object:
        """Whether its tokens count."""
        return cells.badge("disabled", "danger") if row.disabled_at else cells.badge("active")

    def facts(self, row: TokenIssuer) -> Sequence[Fact]:
        """Which of its tokens count, and what they are checked against."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("State", cells.badge("disabled" if row.disabled_at else "active")),
            Fact("Kind", row.get_kind_display()),
            Fact("Application", str(row.application or "Any")),
            Fact("Audiences", ", ".join(row.audiences)),
            Fact("Authorized parties", ", ".join(row.authorized_parties)),
            Fact("Keys", "Its PEM" if row.public_key else cells.code(row.jwks_url)),
            Fact("Believes addresses", "Yes" if row.matches_email else "No"),
            Fact("Disabled", cells.when(row.disabled_at)),
            Fact("Roles", cells.document(row.role_map), wide=True),
        ]

    @act("Trust an issuer", capability="manage_platform", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new issuer and its terms."""
        question = Ask(
            "Trust an issuer of tokens",
            "Its tokens then say who calls the API. What its users may do stays what their"
            " memberships say.",
            "Trust issuer",
            NewIssuerForm,
        )

        def run(answers: Answers) -> str:
            issuer = answers.pop("issuer")
            if TokenIssuer.objects.filter(issuer=issuer).exists():
                raise Conflict(f"'{issuer}' is known; edit it.", param="issuer")
            return _define(request, issuer, answers)

        return ask(self, request, question, run=run, back=cells.list_url(TokenIssuer))

    @act("Edit", capability="manage_platform", icon="edit")
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for other terms; an issuer that was disabled counts again."""
        row = self.row(request, object_id)
        initial = {name: getattr(row, name) for name in TermsForm.base_fields}
        initial["application"] = row.application.slug if row.application else ""
        question = Ask(
            f"Edit {row}",
            "Counts from the next request on. An issuer that was disabled counts again.",
            "Save",
            TermsForm,
            initial=initial,
        )
        return ask(
            self,
            request,
            question,
            run=lambda answers: _define(request, row.issuer, answers),
            back=cells.url_of(row),
            row=row,
        )

    @act(
        "Disable",
        capability="manage_platform",
        icon="block",
        danger=True,
        applies=lambda row: row.disabled_at is None,
        otherwise=lambda row: f"{row} is disabled already.",
    )
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether its tokens shall count no more."""
        row = self.row(request, object_id)
        question = Ask(
            f"Disable {row}",
            "Whoever calls with one of its tokens is refused from this moment on.",
            "Disable issuer",
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.disable_token_issuer(row.public_id, actor=actor_of(request), at=clock.now())
            return f"Tokens of {row} count no more."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _define(request: HttpRequest, issuer: str, answers: Answers) -> str:
    terms = IssuerTerms(**answers)
    services.define_token_issuer(issuer, terms=terms, actor=actor_of(request), at=clock.now())
    return f"Tokens of {issuer} count."
