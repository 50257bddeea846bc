"""Several operators at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core import rls
from apps.plans import selectors, services
from tests.conftest import AT, STAFF
from tests.plans.samples import gateway


def load_once(_: int) -> str:
    try:
        with rls.ops_scope("test"):
            report = services.load_catalog(gateway(), actor=STAFF, at=AT)
        return str(report.plans[0].outcome)
    finally:
        connection.close()


@pytest.mark.committed
def test_loads_at_once_make_one_version(committed_db: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(load_once, range(4)))
    assert sorted(outcomes) == ["created", "unchanged", "unchanged", "unchanged"]
    with rls.ops_scope("test"):
        assert [version.number for version in selectors.plan_versions("gateway")] == [1]
