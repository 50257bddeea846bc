"""What was acknowledged is stored, whatever the server is set to."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from apps.core import rls
from apps.core.checks import run_time_login
from tests.prove.ground import spoil


def shown(setting: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")
        return str(cursor.fetchone()[0])


def codes() -> list[str | None]:
    return [message.id for message in run_time_login(databases=["default"])]


@pytest.mark.committed
def test_a_server_that_would_answer_too_early_cannot(committed_db: str) -> None:
    assert codes() == []
    name = str(connection.settings_dict["NAME"])
    spoil(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    connection.close()
    assert shown("synchronous_commit") == "off"
    for scope in (rls.tenant_scope(1), rls.ops_scope("test"), transaction.atomic()):
        with scope:
            assert shown("synchronous_commit") == "on"
    assert codes() == ["core.W014"]
