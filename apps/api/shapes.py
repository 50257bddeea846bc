"""The pieces of every JSON shape: strict input, exact output, the envelopes of lists and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from drf_spectacular.drainage import set_override
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework import serializers

from apps.core import ids
from apps.engine.decimals import NotADecimal, decimal_of, plain
from apps.subscriptions.changes import NOW, PERIOD_END

if TYPE_CHECKING:
    Fields = serializers.Serializer[Any]
    AnyField = serializers.Field[Any, Any, Any, Any]
else:
    Fields = serializers.Serializer
    AnyField = serializers.Field

DECIMAL_SCHEMA = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["0.0000015"]}
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Strict(Fields):
    """Input in which every key is known."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse unknown keys beside whatever else is wrong."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        unknown = {
            key: [serializers.ErrorDetail("This is not known here.", code="unknown_field")]
            for key in data
            if key not in self.fields
        }
        try:
            found = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**error.detail, **unknown}) from None  # type: ignore[dict-item]
        if unknown:
            raise serializers.ValidationError(unknown)
        return found


class Body(Strict):
    """A request's JSON body; `replays` is False where the answer holds what must not be kept."""

    replays: ClassVar[bool] = True


class Query(Strict):
    """A request's query parameters; `more` are described only, no field can read them."""

    more: ClassVar[Sequence[OpenApiParameter]] = ()


class Shape(Fields):
    """A JSON object that is answered."""


class Text(serializers.CharField):
    """A JSON string; numbers are not turned into one."""

    def to_internal_value(self, data: Any) -> str:
        """Return the string without blanks around it."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A JSON integer; strings, booleans and fractions are refused."""

    def to_internal_value(self, data: Any) -> int:
        """Return the integer."""
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """A JSON boolean; words and numbers are not turned into one."""

    def to_internal_value(self, data: Any) -> bool:
        """Return the boolean."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Digits(serializers.IntegerField):
    """A whole number in a query string, in plain digits."""

    def to_internal_value(self, data: Any) -> int:
        """Return the integer."""
        if not (isinstance(data, str) and data.isascii() and data.isdigit()):
            self.fail("invalid")
        return super().to_internal_value(data)


class Instant(serializers.DateTimeField):
    """An ISO 8601 instant from 2000 to 2199; without a zone it is UTC."""

    def to_internal_value(self, value: Any) -> datetime:
        """Return the instant in UTC."""
        found = super().to_internal_value(value)
        if not EARLIEST <= found < LATEST:
            raise serializers.ValidationError(
                "The years 2000 to 2199 are taken.", code="out_of_range"
            )
        return found


@extend_schema_field(DECIMAL_SCHEMA)
class Exact(AnyField):
    """A decimal as a string, so that no reader makes a binary fraction of it."""

    def to_representation(self, value: Decimal) -> str:
        """Return the one spelling of the number."""
        return plain(value)

    def to_internal_value(self, data: Any) -> Decimal:
        """Read a decimal string (or a whole number)."""
        try:
            return decimal_of(data)
        except NotADecimal:
            raise serializers.ValidationError(
                "Send a plain decimal as a string, such as '49.90'.", code="invalid"
            ) from None


class Kind(AnyField):
    """The constant `object` of a shape."""

    def __init__(self, word: str) -> None:
        self.word = word
        super().__init__(source="*", read_only=True)
        set_override(self, "field", {"type": "string", "const": word})

    def to_representation(self, value: object) -> str:
        """Return the word."""
        return self.word


class Choice(serializers.ChoiceField):
    """One of some words; in the schema each with its meaning (OpenAPI 3.1.1, 4.8.24.3)."""

    def __init__(self, choices: Sequence[tuple[str, str]], **options: Any) -> None:
        super().__init__(choices=choices, **options)
        words = [{"const": str(word), "title": str(meaning)} for word, meaning in choices]
        word: dict[str, Any] = {"type": "string", "oneOf": words}
        # A type that may be null is written as one of several; the generator adds the null itself.
        set_override(self, "field", {"oneOf": [word]} if options.get("allow_null") else word)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": [NOW, PERIOD_END]},
            {"type": "string", "format": "date-time"},
        ]
    }
)
class Moment(AnyField):
    """When something ends: now, with the period, or at an instant to come."""

    def to_internal_value(self, data: Any) -> str | datetime:
        """Return the word or the instant."""
        if data in (NOW, PERIOD_END):
            return str(data)
        if not isinstance(data, str):
            raise serializers.ValidationError(
                f"Say {NOW}, {PERIOD_END} or an instant.", code="invalid"
            )
        return Instant().to_internal_value(data)

    def to_representation(self, value: Any) -> Any:
        """Return it."""
        return value


@extend_schema_field({"type": "boolean"})
class LiveMode(AnyField):
    """Whether this is the production system."""

    def __init__(self) -> None:
        super().__init__(source="*", read_only=True)

    def to_representation(self, value: object) -> bool:
        """Return the setting."""
        return bool(settings.PRODUCTION)


@extend_schema_field({"type": "object", "additionalProperties": True})
class Open(AnyField):
    """JSON as it is stored."""

    def to_representation(self, value: Any) -> Any:
        """Return it."""
        return value


def public_id(prefix: str, **options: Any) -> AnyField:
    """Return the field of a public id, with its pattern in the schema."""

    @extend_schema_field(
        {
            "type": "string",
            "pattern": f"^{prefix}_[{ids.ALPHABET}]{{26}}$",
        }
    )
    class PublicId(serializers.CharField):
        """A public id."""

    return PublicId(read_only=True, **options)


class Span(Shape):
    """A half-open time: `start` is inside, `end` is not."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class NoBody(Body):
    """Nothing: an empty object, or no body at all."""


class FaultShape(Shape):
    """One thing that is wrong, and where: in the body or in the query string."""

    pointer = serializers.CharField(
        required=False, help_text="JSON pointer (RFC 6901) into the body; empty: all of it"
    )
    parameter = serializers.CharField(required=False, help_text="query parameter")
    code = serializers.CharField()
    detail = serializers.CharField()


class Problem(Shape):
    """A refusal, as RFC 9457 writes it; `code` is stable, `detail` is for people."""

    type = serializers.URLField(help_text="where the code is explained")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField(help_text="the path that was called")
    code = serializers.CharField()
    param = serializers.CharField(allow_null=True, help_text="the input at fault, where one is")
    errors = FaultShape(many=True)  # type: ignore[assignment] # a field, not what is_valid found
    request_id = serializers.CharField()
    extra = Open(required=False, help_text="further facts, by code")


def list_of(shape: type[Shape], name: str) -> type[Shape]:
    """Return the envelope of a list of this shape."""
    fields = {
        "__doc__": "A page of a list, newest first.",
        "__module__": __name__,
        "object": Kind("list"),
        "url": serializers.CharField(),
        "has_more": serializers.BooleanField(help_text="whether the list goes on"),
        "next_cursor": serializers.CharField(
            allow_null=True,
            help_text="`starting_after` (going back: `ending_before`) of the next page",
        ),
        "data": shape(many=True),
    }
    return type(name, (Shape,), fields)
