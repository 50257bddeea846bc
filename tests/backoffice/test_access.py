from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from apps.audit import services as audit
from apps.backoffice.access import AdminScope, actor_of
from apps.backoffice.admin.audit import SUBJECTS
from apps.core import clock, rls
from tests import worlds
from tests.backoffice.conftest import browser
from tests.backoffice.pages import acts
from tests.conftest import AT
from tests.portal import people
from tests.worlds import World

SIGN_IN = "/portal/login/?next=%2Fadmin%2F"


def sign_in(client: Client, email: str, password: str = worlds.PASSWORD) -> HttpResponse:
    return client.post(SIGN_IN, {"username": email, "password": password})  # type: ignore[return-value]


def sign_in_client(email: str) -> Client:
    client = Client()
    sign_in(client, email)
    return client


def test_staff_sign_in_where_everybody_does_and_come_back(world: World) -> None:
    worlds.make_staff("staff@house.example", "Admin")
    client = Client()
    door = client.get("/admin/")["Location"]
    assert door == "/admin/login/?next=/admin/"
    assert client.get(door)["Location"] == SIGN_IN
    assert sign_in(client, "staff@house.example")["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_wrong_password_does_not_open(world: World) -> None:
    worlds.make_staff("staff@house.example", "Admin")
    client = Client()
    assert sign_in(client, "staff@house.example", "wrong").status_code == 422
    assert client.get("/admin/").status_code == 302


def test_an_owner_is_not_let_in_and_not_asked_in_circles(world: World) -> None:
    client = Client()
    sign_in(client, world.owner.email)
    assert client.get("/admin/").status_code == 302
    assert client.get("/admin/", follow=True).status_code == 403


def test_staff_with_a_second_factor_show_it_before_anything_opens(world: World) -> None:
    staff = worlds.make_staff("staff@house.example", "Admin")
    secret, _ = people.with_app(staff)
    client = sign_in_client(staff.email)
    assert client.get("/admin/").status_code == 302
    with clock.frozen(worlds.NOW + timedelta(minutes=2)):
        shown = client.post("/portal/login/second/", {"code": people.code_at(secret)})
    assert shown["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_session_from_before_the_second_factor_shows_it_first(world: World) -> None:
    staff = worlds.make_staff("staff@house.example", "Admin")
    client = browser(staff)
    assert client.get("/admin/").status_code == 200
    people.with_app(staff)
    assert (
        client.get("/admin/", follow=True)
        .redirect_chain[-1][0]
        .startswith("/portal/security/confirm/?next=%2Fadmin%2F")
    )


def test_where_it_is_demanded_staff_are_led_to_set_one_up(
    world: World, settings: LazySettings
) -> None:
    settings.STAFF_SECOND_FACTOR = True
    staff = worlds.make_staff("staff@house.example", "Admin")
    client = sign_in_client(staff.email)
    page = client.get("/admin/", follow=True)
    assert page.redirect_chain[-1][0].startswith("/portal/security/?next=")
    assert "opens to staff with a second factor only" in page.content.decode()
    path = "/portal/security/authenticator/"
    secret = client.get(path).content.decode().split('class="secret"><code>')[1].split("<")[0]
    client.post(path, {"code": people.code_at(secret.replace(" ", ""))})
    assert client.get("/admin/").status_code == 200


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
    request.session = {}  # type: ignore[assignment] # as far as anybody asks
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
    assert client.get("/admin/login/")["Location"] == SIGN_IN
