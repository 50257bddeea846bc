"""What the rooms above learn about the catalogue."""

from __future__ import annotations

import pytest
from pytest_django import DjangoAssertNumQueries

from apps.engine.calendar import Interval, Unit
from apps.plans import selectors, services
from apps.plans.catalog import read_catalog
from apps.plans.errors import UnknownPlan, UnknownVersion
from tests.conftest import AT, STAFF
from tests.plans.samples import gateway

pytestmark = pytest.mark.usefixtures("ops")


@pytest.fixture(autouse=True)
def _loaded(ops: None) -> None:
    services.load_catalog(gateway(), actor=STAFF, at=AT)


def test_a_plan_is_found_by_code_and_by_public_id() -> None:
    offer = selectors.find_plan("gateway")
    assert selectors.find_plan(offer.public_id) == offer
    assert selectors.current_version(offer.public_id) == offer.version
    assert (offer.application_slug, offer.application_name) == ("gateway", "AI Gateway")
    assert offer.version.interval == Interval(Unit.MONTH)


def test_a_version_is_found_by_its_ids() -> None:
    terms = selectors.current_version("gateway")
    assert selectors.version_terms(terms.version_id) == terms
    assert selectors.find_version(terms.public_id) == terms


def test_what_does_not_exist_is_refused() -> None:
    for ask in (selectors.find_plan, selectors.current_version, selectors.plan_versions):
        with pytest.raises(UnknownPlan):
            ask("nothing")
    with pytest.raises(UnknownVersion):
        selectors.version_terms(0)
    with pytest.raises(UnknownVersion):
        selectors.find_version("plv_0")
    with pytest.raises(KeyError):
        selectors.current_version("gateway").price("nothing")


def test_a_metered_price_knows_its_meter() -> None:
    price = selectors.current_version("gateway").price("context_tokens")
    assert price.meter_key == "context_tokens"
    assert price.meter_id is not None
    assert selectors.current_version("gateway").price("base").meter_id is None


def test_terms_of_many_versions_take_few_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    services.load_catalog(read_catalog("seats"), actor=STAFF, at=AT)
    services.load_catalog(read_catalog("metered"), actor=STAFF, at=AT)
    ids = [offer.version.version_id for offer in selectors.list_plans(visibility=None)]
    assert len(ids) == 15
    with django_assert_max_num_queries(5):
        found = selectors.terms_of([*ids, 0])
    assert sorted(found) == sorted(ids)


def test_private_plans_are_listed_for_staff_only() -> None:
    hidden = gateway(("code: gateway", "code: secret\n    visibility: private"))
    services.load_catalog(hidden, actor=STAFF, at=AT)
    assert [offer.code for offer in selectors.list_plans()] == ["gateway"]
    assert {offer.code for offer in selectors.list_plans(visibility=None)} == {"gateway", "secret"}
    assert selectors.find_plan("secret").visibility == "private"


def test_plans_are_listed_in_the_files_order() -> None:
    services.load_catalog(read_catalog("licences"), actor=STAFF, at=AT)
    offers = selectors.list_plans(application="devices")
    assert [offer.code for offer in offers] == ["trial", "starter", "professional", "enterprise"]
