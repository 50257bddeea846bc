"""Addresses of accounts: whoever confirms one first has it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core import rls
from apps.tenants import links, securing, services
from apps.tenants.errors import LinkInvalid
from apps.tenants.models import User
from tests.conftest import AT, STAFF

WANTED = "desk@acme.example"


def wanting(name: str) -> User:
    """Create somebody who wants the address and has not confirmed it yet."""
    with rls.ops_scope("test: somebody"):
        user = services.create_user(
            f"{name}@acme.example", password="long-enough-1", actor=STAFF, at=AT
        )
        actor = securing.own_actor(user)
        services.want_address(user.public_id, email=WANTED, actor=actor, at=AT)
        user.refresh_from_db()
    return user


def prove(user: User) -> None:
    token = links.address_token(user, at=AT)
    services.prove_address(token, actor=securing.own_actor(user), at=AT)


def prove_apart(user: User) -> str:
    try:
        with rls.ops_scope("test: the other one"):
            prove(user)
    except LinkInvalid:
        return "refused"
    finally:
        connection.close()
    return "confirmed"


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchall() != [(0,)])


@pytest.mark.committed
def test_of_two_who_confirm_one_address_at_once_one_has_it(committed_db: str) -> None:
    ann, bob = wanting("ann"), wanting("bob")
    with ThreadPoolExecutor(1) as pool:
        with rls.ops_scope("test: the first one"):
            prove(ann)
            other = pool.submit(prove_apart, bob)
            while not somebody_waits():
                time.sleep(0.01)
        assert other.result() == "refused"
    with rls.ops_scope("test: who has it"):
        assert list(User.objects.filter(email=WANTED)) == [ann]
