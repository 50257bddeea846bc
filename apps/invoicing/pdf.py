"""An invoice as PDF/A-3b: what was billed, and how each amount came about.

Names and texts are other people's. They travel as data (`sys_inputs`) and never as markup, where
typst would execute them. The same document makes the same bytes.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import typst
from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from apps.engine.period import utc
from apps.invoicing.document import Document, Line
from apps.invoicing.paper.arithmetic import heading, working
from apps.invoicing.paper.words import FALLBACK, Words

log = logging.getLogger(__name__)

PAPER = Path(__file__).resolve().parent / "paper"
FONTS = PAPER / "fonts"
Standard = Literal["a-3b", "1.7"]
ARCHIVAL: Standard = "a-3b"
# What a page cannot show: control characters and bidirectional overrides that could fake a text.
INVISIBLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
UNBROKEN = re.compile(r"\S{24}(?=\S)")
BREAK_HERE = "\u200b"


def render(document: Document) -> bytes:
    """Return the invoice as a PDF, in the document's language, zone and currency.

    Characters that our fonts lack are taken from the machine's. Where those lack them too, dates
    and numbers are written in English, and a name shows boxes, which PDF/A forbids: that file is a
    plain PDF.
    """
    words = Words.of(document)
    plain_words = replace(words, locale=FALLBACK)
    for chosen in dict.fromkeys((words, plain_words)):
        for system_fonts in (False, True):
            try:
                return _print(document, chosen, system_fonts=system_fonts, standard=ARCHIVAL)
            except typst.TypstError as error:
                if "could not be displayed" not in str(error):
                    raise
    log.warning("invoice_pdf_lacks_glyphs", extra={"invoice": document.id})
    return _print(document, plain_words, system_fonts=True, standard="1.7")


def file_name(document: Document) -> str:
    """Return a name for the file: INV-000123.pdf."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", document.number or document.id or document.status)
    return f"{stem.strip('-.') or 'invoice'}.pdf"


def _print(document: Document, words: Words, *, system_fonts: bool, standard: Standard) -> bytes:
    with translation.override(words.locale):
        page = _clean(_page(document, words))
    made = typst.compile(
        str(PAPER / "invoice.typ"),
        root=str(PAPER),
        format="pdf",
        font_paths=[str(FONTS)],
        ignore_system_fonts=not system_fonts,
        sys_inputs={"document": json.dumps(page, ensure_ascii=False)},
        pdf_standards=standard,
        timestamp=int(utc(document.finalized_at or document.issued_at).timestamp()),
    )
    return bytes(made)


def _clean(value: Any) -> Any:
    """Return the page with every text made fit to print: visible, and breakable when long."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, str):
        return UNBROKEN.sub(lambda run: run.group() + BREAK_HERE, INVISIBLE.sub("", value))
    return value


def _page(document: Document, words: Words) -> dict[str, Any]:
    issued = utc(document.finalized_at or document.issued_at)
    return {
        "brand": settings.BRAND_NAME,
        "language": words.locale.split("_")[0],
        "made": [issued.year, issued.month, issued.day, issued.hour, issued.minute, issued.second],
        "title": _("Invoice"),
        "number": document.number or "",
        "watermark": _watermark(document),
        "facts": _facts(document, words),
        "issuer": _party(document.parties["issuer"], words),
        "to": _("Bill to"),
        "customer": _party(document.parties["customer"], words),
        "due": _due(document, words),
        "head": [_("Description"), _("Period"), _("Quantity"), _("Amount")],
        "lines": [_line(line, words) for line in document.lines],
        "totals": _totals(document, words),
        "payment": _payment(document, words),
        "workings_title": _("How these amounts came about"),
        "workings_lead": _(
            "Every amount is computed exactly and rounded once, half away from zero."
        ),
        "workings": [asdict(working(line, words)) for line in document.lines],
        "page": _("Page"),
        "fingerprint": document.content_hash,
        "fingerprint_label": _("Fingerprint of this document"),
    }


def _watermark(document: Document) -> str:
    return {"draft": _("Draft"), "upcoming": _("Preview"), "void": _("Void")}.get(
        document.status, ""
    )


def _facts(document: Document, words: Words) -> list[list[str]]:
    facts = [
        [_("Number"), document.number or "–"],
        [_("Date"), words.date(document.issued_at)],
        [_("Due"), words.date(document.due_at)],
        [_("Period"), words.period(document.period)],
    ]
    if document.paid_at is not None:
        facts.append([_("Paid"), words.date(document.paid_at)])
    if document.voided_at is not None:
        facts.append([_("Void since"), words.date(document.voided_at)])
    return facts


def _due(document: Document, words: Words) -> str:
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
    rows = str(party.get("address", "")).splitlines()
    tax = [f"{_('Tax id')} {party['tax_id']}"] if party.get("tax_id") else []
    rows += [words.country(party.get("country", "")), *tax, party.get("email", "")]
    return {"name": party.get("name", ""), "rows": [row for row in rows if row.strip()]}


def _line(line: Line, words: Words) -> dict[str, str]:
    return {
        "name": line.name,
        "note": heading(line, words),
        "period": words.period(line.period),
        "quantity": words.number(line.quantity),
        "amount": words.money(line.amount),
    }


def _totals(document: Document, words: Words) -> list[dict[str, Any]]:
    rows = [(_("Total"), document.total, True)]
    if document.subtotal != document.total:
        rows.insert(0, (_("Subtotal"), document.subtotal, False))
    if document.amount_paid:
        rows.append((_("Paid"), -document.amount_paid, False))
        rows.append((_("Still due"), document.amount_due, True))
    return [{"label": label, "amount": words.money(minor), "strong": s} for label, minor, s in rows]


def _payment(document: Document, words: Words) -> dict[str, Any] | None:
    """Say how to pay, while there is something to pay."""
    if document.amount_due <= 0 or document.number is None or document.status == "void":
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
