"""How an operation is declared, and the OpenAPI document that comes of it.

`@operation` says once what a handler is called, which scope it needs, what it reads and what it
answers; the permission, the reading of the body and the document all come from that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from apps.api.errors import MEDIA_TYPE
from apps.api.idempotency import HEADER, REPLAYED
from apps.api.reading import JSON
from apps.api.shapes import Body, Problem, Query

F = TypeVar("F", bound=Callable[..., Any])

REFERENCES = {
    "organization": "Public id (`org_…`), slug, or external id (`ext:…`) of the organization.",
    "plan": "Public id (`plan_…`) or code of the plan.",
    "subscription": "Public id (`sub_…`) of the subscription.",
    "invoice": "Public id (`inv_…`) or number of the invoice.",
    "meter": "Key of the meter.",
    "change": "Public id (`chg_…`) of the change.",
    "charge": "Public id (`charge_…`) of the charge.",
    "grant": "Public id (`cg_…`) of the credit grant.",
    "credit_note": "Public id (`cn_…`) or number of the credit note.",
    "payment": "Public id (`pay_…`) of the payment.",
    "line": "Public id (`il_…`) of the invoice line.",
    "discount": "Public id (`disc_…`) of the discount.",
    "reservation": "Public id (`rsv_…`) of the reservation.",
    "licence": "Public id (`lic_…`) of the licence.",
    "instance": "Public id (`ins_…`) of the instance.",
    "dunning_run": "Public id (`dun_…`) of the dunning run.",
    "seat": "Public id (`seat_…`) of the seat.",
    "spend_cap": "Public id (`cap_…`) of the spend cap.",
    "member": "Public id (`mem_…`) of the membership.",
    "invitation": "Public id (`invt_…`) of the invitation.",
    "api_key": "Public id (`key_…`) of the API key.",
}
REFUSALS = {
    "400": "The request is malformed, or names something unknown in its fields.",
    "401": "The API key or the token is missing, unknown, expired, or good no more.",
    "402": "There is no way to collect the money.",
    "403": (
        "The API key lacks a scope, the person's role does not allow it or they are no member, or"
        " the operation is the platform's."
    ),
    "404": "There is no such thing, or it belongs to somebody else.",
    "409": "The state of things, or a request under way, does not allow this now.",
    "413": "The body is larger than this door takes.",
    "415": "The body is of a media type that this operation does not read.",
    "422": "A rule of the business refuses this, or the Idempotency-Key has another body.",
    "500": "Something went wrong on our side; nothing was changed.",
    "503": "The system is busy; send the same request again.",
}
TOO_MANY = "429"
MEANINGS = {
    **REFUSALS,
    TOO_MANY: "There were too many attempts; wait as long as `Retry-After` says.",
}
READING = ("400", "401", "403", "404", "500", "503")
KEY_HEADER = OpenApiParameter(
    HEADER,
    {"type": "string", "maxLength": 255},
    OpenApiParameter.HEADER,
    description="The same key and request get the same answer again, for 30 days.",
)
REPLAYED_HEADER = OpenApiParameter(
    REPLAYED,
    {"type": "string", "const": "true"},
    OpenApiParameter.HEADER,
    description="Present when this is the stored answer of an earlier request.",
    response=[200, 201],
)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that the handler reads itself: request schemas by media type.

    Such requests carry their own ids and take no Idempotency-Key.
    """

    media_types: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a handler declares. With an empty scope any key may call it, with none anybody."""

    id: str
    scope: str | None
    platform_only: bool
    query: type[Query] | None
    body: type[Body] | Raw | None

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key."""
        return self.scope is None

    @property
    def media_types(self) -> Sequence[str]:
        """The media types that the body may have."""
        return tuple(self.body.media_types) if isinstance(self.body, Raw) else (JSON,)

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.body is not None

    @property
    def takes_key(self) -> bool:
        """Whether an Idempotency-Key has an effect.

        Keys belong to whoever calls, by name; and an answer with a secret in it is not kept.
        """
        if self.is_open or self.body is None or isinstance(self.body, Raw):
            return False
        return self.body.replays


def operation(
    name: str,
    *,
    tag: str,
    answers: Mapping[Any, Any],
    scope: str | None = "",
    platform_only: bool = False,
    query: type[Query] | None = None,
    body: type[Body] | Raw | None = None,
    examples: Sequence[OpenApiExample] = (),
) -> Callable[[F], F]:
    """Declare a handler: its docstring's first line is the summary, the rest the description.

    `answers` maps statuses, or (status, media type), to shapes. A handler with a body writes. The
    arguments of the handler are the variables of its path.
    """
    declared = Operation(name, scope, platform_only, query, body)

    def declare(handler: F) -> F:
        summary, _, rest = (handler.__doc__ or "").strip().partition("\n")
        described = extend_schema(
            operation_id=name,
            tags=[tag],
            summary=summary.rstrip("."),
            description=_description(rest, declared),
            request=dict(body.media_types) if isinstance(body, Raw) else body,
            responses=_responses(answers, declared),
            parameters=[*_parameters(handler, declared), *_query_parameters(query)],
            examples=list(examples),
        )(handler)
        described.operation = declared  # type: ignore[attr-defined]
        return described

    return declare


def _description(rest: str, declared: Operation) -> str:
    told = "\n".join(line.strip() for line in rest.strip().splitlines())
    needs = "Needs no key." if declared.is_open else "Needs no scope."
    if declared.scope:
        needs = f"Needs the scope `{declared.scope}`."
    if declared.platform_only:
        needs += " Only keys of the platform may call it."
    return f"{told}\n\n{needs}".strip()


def _query_parameters(query: type[Query] | None) -> list[OpenApiParameter | type[Query]]:
    return [] if query is None else [query, *query.more]


def _responses(answers: Mapping[Any, Any], declared: Operation) -> dict[Any, Any]:
    own = {str(status if isinstance(status, int) else status[0]) for status in answers}
    codes = (*REFUSALS, TOO_MANY) if declared.is_open else REFUSALS if declared.writes else READING
    refusals = {
        (code, MEDIA_TYPE): OpenApiResponse(Problem, description=MEANINGS[code])
        for code in codes
        if code not in own
    }
    return {**answers, **refusals}


def _parameters(handler: Callable[..., Any], declared: Operation) -> list[OpenApiParameter]:
    names = [name for name in inspect.signature(handler).parameters if name in REFERENCES]
    found = [
        OpenApiParameter(name, str, OpenApiParameter.PATH, description=REFERENCES[name])
        for name in names
    ]
    return [*found, KEY_HEADER, REPLAYED_HEADER] if declared.takes_key else found


class ApiSchema(AutoSchema):
    """Names each operation's scope in its security requirement, and shapes by what they are."""

    def get_serializer_name(
        self, serializer: Any, direction: Literal["request", "response"]
    ) -> str:
        """Return the component's name: the shape's, without the word."""
        name: str = super().get_serializer_name(serializer, direction)
        return name.removesuffix("Shape")

    def get_auth(self) -> list[dict[str, Any]]:
        """Return the API key with the scope that the operation needs."""
        declared: Operation | None = getattr(
            getattr(self.view, self.method.lower(), None), "operation", None
        )
        found = super().get_auth()
        if declared is not None and declared.is_open:
            return [{}]
        if declared is None or not declared.scope:
            return found
        return [{name: [declared.scope] for name in requirement} for requirement in found]


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The API key, or the token, in the document."""

    target_class = "apps.api.authentication.BearerAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """Return the security scheme."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "bk_live_…, bk_test_… or a JWT",
            "description": (
                "An API key of an organization or of the platform, whose scopes decide; or a"
                " person's token, whose role in the organization decides. Who belongs to several"
                " names one in the header `X-Organization`, unless the token does."
            ),
        }
