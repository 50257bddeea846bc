"""An invoice as PDF/A-3b: what was billed, and how each amount came about.

Where the document is an EN 16931 invoice, the file carries it as XML too (Factur-X). Names and
texts are other people's. They travel as data (`sys_inputs`) and never as markup, where typst would
execute them. The same document makes the same bytes.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import typst
from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from apps.engine.period import utc
from apps.invoicing import einvoice
from apps.invoicing.document import CREDIT_NOTE, Document, Line
from apps.invoicing.einvoice import EInvoice, Obstacle
from apps.invoicing.paper import hybrid
from apps.invoicing.paper.arithmetic import heading, working
from apps.invoicing.paper.totals import notices, shown, totals
from apps.invoicing.paper.words import FALLBACK, Words, visible

log = logging.getLogger(__name__)

PAPER = Path(__file__).resolve().parent / "paper"
LATIN = PAPER / "fonts"  # Greek and Cyrillic too
JAPANESE = PAPER / "fonts_ja"
Standard = Literal["a-3b", "1.7"]
ARCHIVAL: Standard = "a-3b"
UNBROKEN = re.compile(r"\S{24}(?=\S)")
BREAK_HERE = "\u200b"


@dataclass(frozen=True, slots=True)
class Paper:
    """The file, and the XML inside it or why there is none."""

    content: bytes
    einvoice: EInvoice


@dataclass(frozen=True, slots=True)
class _Press:
    """One way to print: with whose words, and with which fonts."""

    words: Words
    fonts: tuple[Path, ...]
    system_fonts: bool
    standard: Standard = ARCHIVAL


def render(document: Document) -> bytes:
    """Return the invoice as a PDF, in the document's language, zone and currency."""
    return paper(document).content


def paper(document: Document) -> Paper:
    """Return the invoice as a PDF, and whether it carries the invoice as XML.

    Characters that our fonts lack are taken from the machine's. Where those lack them too, the
    words are English, and a name shows boxes, which PDF/A forbids: that file is a plain PDF, and
    has no XML.
    """
    made = einvoice.of(document)
    presses = _presses(Words.of(document))
    for press in presses:
        try:
            return Paper(_print(document, press, made), made)
        except typst.TypstError as error:
            if "could not be displayed" not in str(error):
                raise
    log.warning("invoice_pdf_lacks_glyphs", extra={"invoice": document.id})
    made = EInvoice(None, made.obstacles or (Obstacle.NOT_ARCHIVAL,))
    return Paper(_print(document, replace(presses[-1], standard="1.7"), made), made)


def _presses(words: Words) -> list[_Press]:
    """Return the ways to print, the best first: small fonts, all of ours, the machine's."""
    return [
        _Press(chosen, fonts, system_fonts)
        for chosen in dict.fromkeys((words, replace(words, locale=FALLBACK)))
        for fonts, system_fonts in (
            ((LATIN,), False),
            ((LATIN, JAPANESE), False),
            ((LATIN, JAPANESE), True),
        )
    ]


def file_name(document: Document) -> str:
    """Return a name for the file: INV-000123.pdf."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", document.number or document.id or document.status)
    return f"{stem.strip('-.') or 'invoice'}.pdf"


def _print(document: Document, press: _Press, made: EInvoice) -> bytes:
    with translation.override(press.words.locale):
        page = _clean(_page(document, press.words, has_xml=made.xml is not None))
    content = typst.compile(
        str(PAPER / "invoice.typ"),
        root=str(PAPER),
        format="pdf",
        font_paths=[str(folder) for folder in press.fonts],
        ignore_system_fonts=not press.system_fonts,
        sys_inputs={
            "document": json.dumps(page, ensure_ascii=False),
            "xml_name": hybrid.FILE_NAME,
            "xml": "" if made.xml is None else made.xml.decode(),
        },
        pdf_standards=press.standard,
        timestamp=int(utc(document.finalized_at or document.issued_at).timestamp()),
    )
    return bytes(content) if made.xml is None else hybrid.mark(bytes(content))


def _clean(value: Any) -> Any:
    """Return the page with every text made fit to print: visible, and breakable when long."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, str):
        return UNBROKEN.sub(lambda run: run.group() + BREAK_HERE, visible(value))
    return value


def _page(document: Document, words: Words, *, has_xml: bool) -> dict[str, Any]:
    issued = utc(document.finalized_at or document.issued_at)
    has_taxes = any(shown(line.tax_rates) for line in document.lines)
    tax_head = [_("Tax")] if has_taxes else []
    return {
        "brand": settings.BRAND_NAME,
        "language": words.locale.split("_")[0],
        "made": [issued.year, issued.month, issued.day, issued.hour, issued.minute, issued.second],
        "title": _("Credit note") if document.kind == CREDIT_NOTE else _("Invoice"),
        "number": document.number or "",
        "watermark": _watermark(document),
        "facts": _facts(document, words),
        "issuer": _party(document.parties["issuer"], words),
        "to": _("Bill to"),
        "customer": _party(document.parties["customer"], words),
        "due": _due(document, words),
        "head": [_("Description"), _("Period"), _("Quantity"), *tax_head, _("Amount")],
        "lines": [_line(line, words) for line in document.lines],
        "totals": _totals(document, words),
        "notices": notices(document),
        "note": document.note,
        "payment": _payment(document, words),
        "workings_title": _("How these amounts came about"),
        "workings_lead": _(
            "Every amount is computed exactly and rounded once, half away from zero."
        ),
        "workings": _workings(document, words),
        "page": _("Page"),
        "fingerprint": document.content_hash,
        "fingerprint_label": _("Fingerprint of this document"),
        "machine": _("Contains this document as data: Factur-X, EN 16931") if has_xml else "",
    }


def _workings(document: Document, words: Words) -> list[dict[str, Any]]:
    told = (working(line, words) for line in document.lines)
    return [asdict(one) for one in told if one.sums or one.closing]


def _watermark(document: Document) -> str:
    return {"draft": _("Draft"), "upcoming": _("Preview"), "void": _("Void")}.get(
        document.status, ""
    )


def _facts(document: Document, words: Words) -> list[list[str]]:
    facts = [
        [_("Number"), document.number or "–"],
        [_("Date"), words.date(document.issued_at)],
        *_corrects(document, words),
    ]
    if document.kind != CREDIT_NOTE:
        facts.append([_("Due"), words.date(document.due_at)])
    facts.append([_("Period"), words.period(document.period)])
    if document.paid_at is not None:
        facts.append([_("Paid"), words.date(document.paid_at)])
    if document.voided_at is not None:
        facts.append([_("Void since"), words.date(document.voided_at)])
    return facts


def _corrects(document: Document, words: Words) -> list[list[str]]:
    if document.corrects is None:
        return []
    date = words.date(document.corrects.issued_at)
    numbers = {"number": document.corrects.number, "date": date}
    return [[_("Corrects"), _("%(number)s of %(date)s") % numbers]]


def _due(document: Document, words: Words) -> str:
    if document.kind == CREDIT_NOTE:
        return _("%(amount)s in your favour") % {"amount": words.money(document.total)}
    numbers = {"amount": words.money(document.amount_due), "date": words.date(document.due_at)}
    if document.status == "upcoming":
        total = {"amount": words.money(document.total), "date": words.date(document.issued_at)}
        return _("%(amount)s to be billed on %(date)s, as of now") % total
    if document.status == "void":
        return _("Nothing is due: this invoice is void")
    if document.amount_due < 0:
        return _("%(amount)s in your favour") % {"amount": words.money(-document.amount_due)}
    if document.amount_due == 0:
        return _("Nothing is due") if document.status != "draft" else _("Not issued yet")
    return _("%(amount)s due %(date)s") % numbers


def _party(party: Any, words: Words) -> dict[str, Any]:
    town = " ".join(part for part in (party.get("postcode", ""), party.get("city", "")) if part)
    rows = [*str(party.get("address", "")).splitlines(), town, party.get("region", "")]
    tax_id = party.get("tax_id", "")
    tax = _("Tax id %(tax_id)s") % {"tax_id": tax_id} if tax_id else ""
    rows += [words.country(party.get("country", "")), tax, party.get("email", "")]
    return {"name": party.get("name", ""), "rows": [row for row in rows if row.strip()]}


def _line(line: Line, words: Words) -> dict[str, Any]:
    notes = [heading(line, words)]
    if line.discount:
        notes.append(_("Discount %(amount)s") % {"amount": words.money(-line.discount)})
    return {
        "name": line.name,
        "note": " · ".join(note for note in notes if note),
        "period": words.period(line.period),
        "quantity": f"{words.number(line.quantity)} {line.unit}".strip(),
        "tax": " + ".join(words.percent(tax.charged_percent) for tax in shown(line.tax_rates)),
        "amount": words.money(line.amount),
    }


def _totals(document: Document, words: Words) -> list[dict[str, Any]]:
    return [
        {"label": one.label, "amount": words.money(one.minor), "strong": one.strong}
        for one in totals(document, words)
    ]


def _payment(document: Document, words: Words) -> dict[str, Any] | None:
    """Say how to pay, while there is something to pay."""
    if not _asks_for_payment(document):
        return None
    bank: Sequence[str] = str(document.parties["issuer"].get("bank_details", "")).splitlines()
    asked = {"amount": words.money(document.amount_due), "date": words.date(document.due_at)}
    return {
        "title": _("Payment"),
        "asked": _("Please pay %(amount)s by %(date)s.") % asked,
        "reference_label": _("Payment reference"),
        "reference": document.number,
        "bank": [row for row in bank if row.strip()],
    }


def _asks_for_payment(document: Document) -> bool:
    is_standing = document.number is not None and document.status != "void"
    return is_standing and document.amount_due > 0 and document.kind != CREDIT_NOTE
