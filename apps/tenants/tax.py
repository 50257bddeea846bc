"""Which tax an invoice bears: a pure decision from who issues it, who gets it, and where they are.

Rules: Directive 2006/112/EC (art. 44 services to businesses, 58 to consumers, 138 goods, 146
exports, 196 reverse charge); reason codes are the VATEX list of EN 16931. Rates are the
catalogue's: this says whose.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from apps.tenants.models import BillingEntity, Organization
from apps.tenants.places import NORTHERN_IRELAND, in_union, tax_area

ONE_STOP_SHOP = "EU"  # as a place of registration: every member state
REVERSE_CHARGED, INTRA_COMMUNITY = "VATEX-EU-AE", "VATEX-EU-IC"
EXPORTED, NOT_SUBJECT = "VATEX-EU-G", "VATEX-EU-O"
Status = Organization.TaxIdStatus
# Well-formed is enough, as it is for Stripe: a register that is off or down must not cost a
# business its reverse charge. One that says no does.
GOOD_TAX_ID = frozenset({Status.VALID_FORMAT, Status.VERIFIED, Status.UNREACHABLE})


class Treatment(StrEnum):
    """What is done about tax."""

    STANDARD = "standard"  # the rates of `country` and `region`
    EXEMPT = "exempt"  # the customer is; `reason` says why
    REVERSE_CHARGE = "reverse_charge"  # the customer accounts for it
    EXPORT = "export"  # it leaves the issuer's tax area
    NONE = "none"  # the issuer collects no tax there


@dataclass(frozen=True, slots=True)
class TaxStanding:
    """Whose rates apply (ISO 3166, a region of it), and if none why.

    `reason_code` is a VATEX code or empty, `reason` words of ours for an exemption, `note` the key
    of the sentence that the document must bear, `seller_tax_id` the number to state.
    """

    country: str
    region: str
    treatment: Treatment
    reason_code: str = ""
    reason: str = ""
    note: str = ""
    seller_tax_id: str = ""

    @property
    def bears_tax(self) -> bool:
        """Whether rates apply at all."""
        return self.treatment is Treatment.STANDARD


def standing(
    entity: BillingEntity, organization: Organization, at: datetime, *, goods: bool = False
) -> TaxStanding:
    """Return how the issuer's invoice to the organization is taxed at that instant.

    Services unless `goods`: they differ for Northern Ireland and for what leaves the EU.
    """
    sale = _Sale(entity, organization, at, goods)
    if organization.tax_exemption == Organization.TaxExemption.EXEMPT:
        return sale.exempt()
    if organization.tax_exemption == Organization.TaxExemption.REVERSE_CHARGE:
        return sale.reverse_charge()
    if sale.is_domestic:
        return sale.at_home()
    if in_union(sale.buyer, at, goods=goods):
        return sale.into_the_union()
    return sale.abroad()


def has_good_tax_id(organization: Organization) -> bool:
    """Tell whether the organization counts as a business: its tax id is well-formed, and no
    register has denied it.
    """
    return bool(organization.tax_id) and organization.tax_id_status in GOOD_TAX_ID


@dataclass(frozen=True, slots=True)
class _Sale:
    """One sale, and each of the ways in which it may be taxed."""

    entity: BillingEntity
    organization: Organization
    at: datetime
    goods: bool

    @property
    def seller(self) -> str:
        return self._area(self.entity.country, self.entity.tax_id)

    @property
    def buyer(self) -> str:
        return self._area(self.organization.country, self.organization.tax_id)

    def _area(self, country: str, tax_id: str) -> str:
        """Return the tax area; Northern Ireland is one of its own for goods only."""
        area = tax_area(country)
        irish = tax_id.strip().upper().startswith(NORTHERN_IRELAND)
        return NORTHERN_IRELAND if self.goods and area == "GB" and irish else area

    @property
    def is_domestic(self) -> bool:
        return bool(self.seller) and _state(self.seller) == _state(self.buyer)

    @property
    def sold_from_the_union(self) -> bool:
        return in_union(self.seller, self.at, goods=self.goods)

    def exempt(self) -> TaxStanding:
        why = self.organization.tax_exemption_reason.strip()
        if why.upper().startswith("VATEX-"):
            return self._without(Treatment.EXEMPT, why.upper(), "exempt")
        return self._without(Treatment.EXEMPT, "", "exempt", why)

    def reverse_charge(self) -> TaxStanding:
        if self.goods and self.sold_from_the_union and not self.is_domestic:
            return self._without(Treatment.REVERSE_CHARGE, INTRA_COMMUNITY, "intra_community")
        return self._without(Treatment.REVERSE_CHARGE, REVERSE_CHARGED, "reverse_charge")

    def at_home(self) -> TaxStanding:
        """An issuer that states for which parts of its country it is registered collects tax in
        those and in no others: states of the USA.
        """
        parts = [one for one in self.entity.tax_registrations if one.startswith(f"{self.seller}-")]
        if parts and not self._is_registered(self.buyer):
            return self._without(Treatment.NONE)
        return self._rates(self.buyer, self.organization.region)

    def into_the_union(self) -> TaxStanding:
        collects = self._is_registered(self.buyer)
        if has_good_tax_id(self.organization) and (self.sold_from_the_union or collects):
            return self.reverse_charge()
        if collects:
            return self._rates(self.buyer, self.organization.region)
        if self.sold_from_the_union:  # below the threshold of sales to consumers abroad
            return self._rates(self.seller, self.entity.region)
        return self._without(Treatment.NONE)

    def abroad(self) -> TaxStanding:
        if self._is_registered(self.buyer):
            return self._rates(self.buyer, self.organization.region)
        if not self.sold_from_the_union:
            return self._without(Treatment.NONE)
        if self.goods:
            return self._without(Treatment.EXPORT, EXPORTED, "export")
        return self._without(Treatment.EXPORT, NOT_SUBJECT, "outside_scope")

    def _is_registered(self, area: str) -> bool:
        return any(place in self.entity.tax_registrations for place in self._places(area))

    def _places(self, area: str) -> list[str]:
        """Return the names of registrations that cover the area, the narrowest first."""
        part = f"{area}-{self.organization.region.upper()}"
        shop = [ONE_STOP_SHOP] if in_union(area, self.at, goods=self.goods) else []
        return [part, area, *shop]

    def _rates(self, area: str, region: str) -> TaxStanding:
        number = self._seller_tax_id(area)
        return TaxStanding(_state(area), region, Treatment.STANDARD, seller_tax_id=number)

    def _without(
        self, treatment: Treatment, code: str = "", note: str = "", reason: str = ""
    ) -> TaxStanding:
        return TaxStanding(
            country=_state(self.buyer),
            region=self.organization.region,
            treatment=treatment,
            reason_code=code,
            reason=reason,
            note=note,
            seller_tax_id=self._seller_tax_id(self.seller),
        )

    def _seller_tax_id(self, area: str) -> str:
        """Return the number under which the issuer collects there; else its own."""
        places = self._places(area)[: 2 if area == self.seller else 3]
        registered = self.entity.tax_registrations
        return next((registered[one] for one in places if registered.get(one)), self.entity.tax_id)


def _state(area: str) -> str:
    """Return the country whose rates an area has: Northern Ireland's are the United Kingdom's."""
    return "GB" if area == NORTHERN_IRELAND else area
