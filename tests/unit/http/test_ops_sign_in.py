"""Who gets to see the ops pages, and whose forms count."""

import base64
import json
import logging
from http.cookies import SimpleCookie

import azure.functions as func
import pytest

from functions.http.pages.principal import ENABLED, HEADER
from functions.http.pages.session import COOKIE, FORM_TOKEN, HOURS, new_cookie, session_of
from functions.http.pages.sign_in import PATH
from shared.application.sign_in_links import MINUTES
from shared.settings import SignIn
from tests.support.ops_pages import FROM_HERE, HOST, OpsVisitor, answer, call, ops_settings, principal
from tests.support.world import World, new_world

OPERATOR = "berth.operator"


async def a_world(monkeypatch: pytest.MonkeyPatch, sign_in: SignIn) -> World:
    monkeypatch.setenv(ENABLED, "True" if sign_in is SignIn.PLATFORM else "False")
    made = await new_world(settings=ops_settings(sign_in), workers=2)
    answer(monkeypatch, made)
    return made


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return await a_world(monkeypatch, SignIn.KEY)


def text_of(response: func.HttpResponse) -> str:
    return response.get_body().decode()


async def open_overview(**headers: str) -> func.HttpResponse:
    return await call(
        "show_ops_overview", "/api/ops", headers={name.replace("_", "-"): headers[name] for name in headers}
    )


async def test_by_default_there_are_no_ops_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    await a_world(monkeypatch, SignIn.OFF)
    for response in (
        await open_overview(),
        await call("show_sign_in", PATH),
        await call("sign_in", PATH, form={"token": ""}, headers=FROM_HERE),
    ):
        assert response.status_code == 404
    assert "set BERTH_OPS_SIGN_IN" in text_of(await open_overview())
    assert (await call("make_sign_in_link", "/api/ops/links")).status_code == 409


async def test_without_a_sign_in_the_page_says_how(world: World) -> None:
    response = await open_overview()
    assert (response.status_code, "Run ./berth ops" in text_of(response)) == (401, True)
    assert "local" not in text_of(response).replace("localhost", "")  # nothing of the fleet


async def test_a_link_signs_in_once(world: World) -> None:
    link = world.workers[0].sign_in_links.make("ann")
    response = await call("sign_in", PATH, form={"token": link.token}, headers=FROM_HERE)
    assert (response.status_code, response.headers["Location"]) == (303, "/api/ops")
    cookie = SimpleCookie(response.headers["Set-Cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["max-age"]) == ("/api/ops", str(HOURS * 3600))
    assert (await open_overview(Cookie=f"{COOKIE}={cookie.value}")).status_code == 200
    again = await call("sign_in", PATH, form={"token": link.token}, headers=FROM_HERE)
    assert (again.status_code, "used before" in text_of(again)) == (401, True)
    assert not await world.workers[1].sign_in_links.use(link.token)


async def test_a_link_ends(world: World) -> None:
    link = world.worker.sign_in_links.make("ann")
    world.clock.advance(MINUTES * 60)
    assert (await call("sign_in", PATH, form={"token": link.token}, headers=FROM_HERE)).status_code == 401


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "..", "\N{SNOWMAN}.1.2"])
async def test_what_is_no_link_is_refused(world: World, token: str) -> None:
    assert (await call("sign_in", PATH, form={"token": token}, headers=FROM_HERE)).status_code == 401


async def test_a_link_of_another_site_is_refused(world: World) -> None:
    link = world.worker.sign_in_links.make("ann")
    response = await call("sign_in", PATH, form={"token": link.token}, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 403
    assert await world.worker.sign_in_links.use(link.token)  # and was not used up


async def test_a_cookie_ends(world: World, visitor: OpsVisitor) -> None:
    world.clock.advance(HOURS * 3600 - 1)
    assert (await open_overview(**visitor.headers)).status_code == 200
    world.clock.advance(1)
    assert (await open_overview(**visitor.headers)).status_code == 401


async def test_a_link_is_no_cookie(world: World) -> None:
    link = world.worker.sign_in_links.make("ann")
    assert (await open_overview(Cookie=f"{COOKIE}={link.token}")).status_code == 401


async def test_a_cookie_that_was_changed_is_refused(world: World, visitor: OpsVisitor) -> None:
    text, end, signature = visitor.headers["Cookie"].split(".")
    for changed in (f"{text}.{int(end) + 1}.{signature}", f"{text}0.{end}.{signature}", f"{text}.{end}.{'0' * 64}"):
        assert (await open_overview(Cookie=changed)).status_code == 401


async def test_signing_out_takes_the_cookie(visitor: OpsVisitor) -> None:
    response = await visitor.post("sign_out", "/api/ops/sign-out", {})
    assert response.status_code == 303
    assert SimpleCookie(response.headers["Set-Cookie"])[COOKIE]["max-age"] == "0"


async def test_on_this_machine_the_cookie_needs_no_tls(world: World) -> None:
    req = func.HttpRequest(method="POST", url="http://127.0.0.1:7071/api/ops/sign-in", body=b"")
    elsewhere = func.HttpRequest(method="POST", url="http://berth.example.com/api/ops/sign-in", body=b"")
    settings, now = world.settings.ops, world.clock.now()
    assert ("Secure" in new_cookie(req, settings, now), "Secure" in new_cookie(elsewhere, settings, now)) == (
        False,
        True,
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (FROM_HERE, 303),
        ({"Origin": HOST}, 303),  # of a browser without Sec-Fetch-Site
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": HOST}, 403),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_a_form_comes_from_here(visitor: OpsVisitor, headers: dict[str, str], status: int) -> None:
    form = {FORM_TOKEN: await visitor.form_token()}
    response = await call("sign_out", "/api/ops/sign-out", form=form, headers={**visitor.headers, **headers})
    assert response.status_code == status


async def test_a_form_has_the_token_of_its_own_session(world: World, visitor: OpsVisitor) -> None:
    other = OpsVisitor()
    await other.sign_in(world)
    sent = {**visitor.headers, **FROM_HERE}
    token = await visitor.form_token()
    for form in ({}, {FORM_TOKEN: ""}, {FORM_TOKEN: await other.form_token()}, {FORM_TOKEN: token + "0"}):
        response = await call("sign_out", "/api/ops/sign-out", form=form, headers=sent)
        assert (response.status_code, "Open its page again" in text_of(response)) == (403, True)
    in_header = {**sent, FORM_TOKEN: token}
    assert (await call("sign_out", "/api/ops/sign-out", form={}, headers=in_header)).status_code == 303


async def test_the_log_has_each_sign_in(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = await call("make_sign_in_link", "/api/ops/links", headers={"Berth-Actor": "ann"})
    token = str(json.loads(made.get_body())["path"]).partition("#")[2]
    signed_in = await call("sign_in", PATH, form={"token": token}, headers=FROM_HERE)
    visitor = OpsVisitor({"Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]})
    await call("sign_in", PATH, form={"token": token}, headers=FROM_HERE)
    await call("sign_in", PATH, form={"token": "no link"}, headers=FROM_HERE)
    await visitor.post("sign_out", "/api/ops/sign-out", {})
    lines = [each.message for each in caplog.records if each.name.startswith(("functions.", "shared."))]
    link = lines[0].partition("link=")[2].split()[0]
    assert lines == [
        f"sign-in link made link={link} actor=ann",
        f"sign-in link used link={link}",
        "signed in actor=ops",
        f'sign-in link refused link={link} cause="it was used before"',
        'sign-in link refused cause="it is too old, or none of this berth"',
        "signed out actor=ops",
    ]
    for secret in (*token.split("."), *visitor.headers["Cookie"].removeprefix(f"{COOKIE}=").split(".")):
        assert secret not in caplog.text


@pytest.mark.parametrize("value", [None, "", "False", "false", "0"])
async def test_the_platform_is_asked_only_if_it_is_on(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    await a_world(monkeypatch, SignIn.PLATFORM)
    if value is None:
        monkeypatch.delenv(ENABLED)
    else:
        monkeypatch.setenv(ENABLED, value)
    response = await open_overview(**{HEADER: principal(OPERATOR)})
    assert (response.status_code, "Turn it on, as docs/ops.md says" in text_of(response)) == (403, True)


async def test_the_platform_names_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world(monkeypatch, SignIn.PLATFORM)
    header = principal(OPERATOR, object_id="0b5f7f0e")
    assert (await open_overview(**{HEADER: header})).status_code == 200
    req = func.HttpRequest(method="GET", url=HOST, headers={HEADER: header}, body=b"")
    session = session_of(req, world.settings.ops, world.clock.now())
    assert (session.actor, session.by_platform) == ("0b5f7f0e", True)
    assert (await call("show_sign_in", PATH)).status_code == 404


async def test_a_cookie_is_nothing_where_the_platform_signs_in(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    visitor = OpsVisitor()
    await visitor.sign_in(world)
    await a_world(monkeypatch, SignIn.PLATFORM)
    response = await open_overview(**visitor.headers)
    assert (response.status_code, "/.auth/login/aad" in text_of(response)) == (401, True)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        ("not base64!", 401),
        (base64.b64encode(b"[]").decode(), 401),
        (base64.b64encode(b'{"claims": [1]}').decode(), 401),
        (base64.b64encode(b'{"claims": null}').decode(), 401),
        (principal(), 403),
        (principal("berth.reader"), 403),
        (principal("berth.operators"), 403),
        (principal(OPERATOR, object_id=""), 403),
        (principal(OPERATOR, object_id="ann@example.com"), 403),
        (principal(OPERATOR, object_id="a" * 101), 403),
    ],
)
async def test_others_are_refused_by_the_platform(monkeypatch: pytest.MonkeyPatch, header: str, status: int) -> None:
    await a_world(monkeypatch, SignIn.PLATFORM)
    response = await open_overview(**{HEADER: header})
    assert (response.status_code, "ann@example.com" in text_of(response)) == (status, False)
