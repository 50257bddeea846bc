"""What the law wants said on an invoice about a tax that is not charged."""

from __future__ import annotations

from django.utils.translation import gettext as _

from apps.invoicing.document import Tax

VATEX = "VATEX-"


def notice(tax: Tax) -> str:
    """Return why this tax is not charged, in the active language; nothing for one that is.

    "Reverse charge" is worded as each language's VAT law has it (Directive 2006/112/EC, article
    226 (11a)). A `ground` in words comes first for an exemption.
    """
    match tax.treatment:
        case "reverse_charge":
            return _("Reverse charge: the customer owes the tax.")
        case "export":
            return _("Not taxed here: supplied to a customer abroad.")
        case "exempt":
            return _in_words(tax) or _("Exempt from tax.")
        case "outside_scope":
            return _in_words(tax) or _("Not subject to tax.")
    return ""


def exemption_code(tax: Tax) -> str:
    """Return the ground as a code of the VATEX list, if it is one."""
    return tax.ground if tax.ground.startswith(VATEX) else ""


def _in_words(tax: Tax) -> str:
    return "" if exemption_code(tax) else tax.ground
