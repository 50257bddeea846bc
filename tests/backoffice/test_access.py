from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from apps.audit import services as audit
from apps.backoffice.access import AdminScope, actor_of
from apps.backoffice.admin.audit import SUBJECTS
from apps.core import rls
from tests import worlds
from tests.backoffice.conftest import browser
from tests.backoffice.pages import acts
from tests.conftest import AT
from tests.worlds import World


def test_staff_sign_in_at_the_door(world: World) -> None:
    worlds.make_staff("staff@house.example", "Admin")
    client = Client()
    assert client.get("/admin/")["Location"] == "/admin/login/?next=/admin/"
    answers = {"username": "staff@house.example", "password": worlds.PASSWORD}
    assert client.post("/admin/login/?next=/admin/", answers)["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_wrong_password_does_not_open(world: World) -> None:
    worlds.make_staff("staff@house.example", "Admin")
    answers = {"username": "staff@house.example", "password": "wrong"}
    client = Client()
    assert client.post("/admin/login/", answers).status_code == 200
    assert client.get("/admin/").status_code == 302


def test_an_owner_cannot_sign_in_here(world: World) -> None:
    answers = {"username": world.owner.email, "password": worlds.PASSWORD}
    client = Client()
    assert client.post("/admin/login/", answers).status_code == 200
    assert client.get("/admin/").status_code == 302


def test_staff_without_a_group_see_nothing(world: World) -> None:
    user = worlds.make_staff("lost@house.example", "Support")
    with rls.ops_scope("test"):
        user.groups.clear()
    assert browser(user).get("/admin/").status_code == 302


def _answer(user: object, status: int) -> HttpResponse:
    def view(request: HttpRequest) -> HttpResponse:
        assert rls.current().ops
        audit.record(action="test.done", target="x", actor=actor_of(request), at=AT)
        return HttpResponse(status=status)

    request = RequestFactory().post("/admin/anything/")
    request.user = user  # type: ignore[assignment]
    return AdminScope(view)(request)


@pytest.mark.parametrize(("status", "kept"), [(200, 1), (302, 1), (400, 0), (409, 0), (500, 0)])
def test_what_a_refused_request_did_is_taken_back(world: World, status: int, kept: int) -> None:
    user = worlds.make_staff("staff@house.example", "Admin")
    _answer(user, status)
    assert [action for _, action, _ in acts()].count("test.done") == kept
    assert rls.current() == rls.NONE


def test_the_admin_alone_has_a_relaxed_policy(admin: Client) -> None:
    assert "'unsafe-eval'" in admin.get("/admin/")["Content-Security-Policy"]
    assert "'unsafe-eval'" in Client().get("/admin/login/")["Content-Security-Policy"]
    assert "'unsafe" not in Client().get("/portal/login/")["Content-Security-Policy"]


def test_other_doors_stay_out_of_the_ops_scope(world: World) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        assert rls.current() == rls.NONE
        return HttpResponse()

    request = RequestFactory().get("/administration/")
    request.user = world.owner
    assert AdminScope(view)(request).status_code == 200


def test_the_audit_filter_knows_every_subject(world: World) -> None:
    assert {action.split(".")[0] for _, action, _ in acts()} <= set(SUBJECTS)


def test_the_bare_login_page_leads_to_the_dashboard(client: Client, db: None) -> None:
    assert client.get("/admin/login/")["Location"] == "/admin/login/?next=%2Fadmin%2F"
