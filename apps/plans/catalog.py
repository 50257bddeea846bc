"""The catalogue file: what may stand in it, read into typed values that know their places.

Everything that the text alone can show is checked here: shape, words, numbers, terms, doubles.
What needs the database (does the meter exist, is the feature a limit) is checked by the service.
The format is described in `docs/catalog.md`.
"""

from __future__ import annotations

from pathlib import Path

from apps.core.errors import Invalid
from apps.engine.aggregation import Aggregation
from apps.plans.document import (
    ApplicationEntry,
    CatalogDocument,
    FeatureEntry,
    MeterEntry,
)
from apps.plans.errors import CatalogInvalid, Place, Problem, UnknownCatalog
from apps.plans.form import Form
from apps.plans.form_offers import coupon_entry, promotion_entry, read, tax_entry
from apps.plans.form_plans import doubles, plan_entry, read_currency
from apps.plans.models import Feature
from apps.plans.yaml_tree import Unreadable, tree_of

SHIPPED = Path(__file__).parent / "catalogs"
MAX_BYTES = 256 * 1024
METER_RULE = "the key of a meter"


def shipped() -> list[str]:
    """Return the names of the catalogues that come with the product."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_catalog(reference: str) -> CatalogDocument:
    """Read the file at a path, or else the shipped catalogue of that name.

    Raises UnknownCatalog, CatalogInvalid.
    """
    path = Path(reference)
    if not path.is_file() and reference in shipped():
        path = SHIPPED / f"{reference}.yaml"
    if not path.is_file():
        raise UnknownCatalog(
            f"There is no file '{reference}'; the shipped catalogues are {', '.join(shipped())}.",
            param="file",
        )
    return parse_catalog(_text_of(path), source=path.name)


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        size = f"{MAX_BYTES // 1024} KiB"
        raise Invalid(f"{path.name} is larger than {size}; split it.", param="file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        problem = Problem(place, "not UTF-8 text; save the file as UTF-8")
        raise CatalogInvalid(path.name, [problem]) from error


def parse_catalog(text: str, *, source: str) -> CatalogDocument:
    """Read a catalogue from YAML text. Raises CatalogInvalid with every problem found."""
    try:
        tree = tree_of(text)
    except Unreadable as error:
        raise CatalogInvalid(source, [Problem(error.place, error.message)]) from error
    problems: list[Problem] = []
    document = _document(Form(tree, problems, "the catalogue"), source, problems)
    if problems:
        raise CatalogInvalid(source, problems)
    return document


def _document(form: Form, source: str, problems: list[Problem]) -> CatalogDocument:
    currency = read_currency(form, required=False)
    plans = [
        plan_entry(plan, currency, position, problems)
        for position, plan in enumerate(form.forms("plans", "a plan"))
    ]
    document = CatalogDocument(
        source,
        tuple(_application(entry) for entry in form.forms("applications", "an application")),
        tuple(_feature(entry) for entry in form.forms("features", "a feature")),
        tuple(_meter(entry) for entry in form.forms("meters", "a meter")),
        tuple(plans),
        tuple(read(form, "coupons", coupon_entry)),
        tuple(read(form, "promotion_codes", promotion_entry)),
        tuple(read(form, "tax_rates", tax_entry)),
    )
    form.close()
    problems += doubles([(entry.slug, entry) for entry in document.applications], "application")
    problems += doubles([(entry.key, entry) for entry in document.features], "feature")
    problems += doubles([(entry.key, entry) for entry in document.meters], "meter")
    problems += doubles([(entry.code, entry) for entry in document.plans], "plan")
    problems += doubles([(entry.code, entry) for entry in document.coupons], "coupon")
    codes = [(entry.code, entry) for entry in document.promotion_codes]
    problems += doubles(codes, "promotion code")
    problems += doubles([(entry.code, entry) for entry in document.tax_rates], "tax rate")
    return document


def _application(form: Form) -> ApplicationEntry:
    entry = ApplicationEntry(
        form.place,
        form.word("slug"),
        form.text("name", required=True),
        form.optional_text("industry", limit=40),
    )
    form.close()
    return entry


def _feature(form: Form) -> FeatureEntry:
    entry = FeatureEntry(
        form.place,
        form.word("key"),
        form.choice("kind", Feature.Kind.values),
        form.optional_text("name"),
        form.optional_text("description", limit=2000),
        form.word("meter", required=False, rule=METER_RULE),
        form.place_of("meter"),
    )
    if entry.meter and entry.kind != Feature.Kind.LIMIT:
        form.note(entry.meter_place, "only a limit has a 'meter' that counts against it")
    form.close()
    return entry


def _meter(form: Form) -> MeterEntry:
    kind = form.choice("aggregation", [str(choice) for choice in Aggregation])
    aggregation = Aggregation(kind) if kind in list(Aggregation) else Aggregation.COUNT
    entry = MeterEntry(
        form.place,
        {key: form.place_of(key) for key in form.names()},
        form.word("key"),
        form.text("event_type", required=True, limit=128),
        aggregation,
        _value_path(form, aggregation),
        form.flag("allow_negative", default=False),
        form.optional_text("unit", limit=40),
        form.optional_text("description", limit=2000),
        form.optional_texts("dimensions"),
        form.choices("include"),
        tuple(Form.choices_of(one) for one in form.forms("exclude", "'exclude'")),
    )
    form.close()
    return entry


def _value_path(form: Form, aggregation: Aggregation) -> str:
    counts = aggregation is Aggregation.COUNT
    path = form.text("value", required=not counts, limit=128)
    if counts and form.has("value"):
        form.note(form.place_of("value"), "a meter that counts events has no 'value'; remove it")
    return path
