"""The waiting room's Caddyfile in the real Caddy: who gets what, who wakes a tenant, and what the app hears."""

import asyncio
import html
import json
import re
import time

import httpx
import pytest
from aiohttp import web

from local.ports import Ports
from local.processes import Processes
from tests.support.waiting_room import BROWSER, DOMAIN, HOST, VISIT, WaitingRoom, problem, waiting_room

SECRET = "hunter2"
AT_ONCE = 200
"""How many requests to the app may be open."""


def is_waiting(response: httpx.Response, kind: str, retry_after: str = "3") -> None:
    assert response.status_code == 503
    headers = response.headers
    assert (headers["content-type"], headers["retry-after"]) == (kind, retry_after)
    assert (headers["cache-control"], headers["x-berth-waiting"]) == ("no-store", "yes")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert not {"server", "via", "etag", "last-modified", "set-cookie", "vary"} & headers.keys()


def is_unknown(response: httpx.Response, kind: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (404, kind)
    assert response.headers["cache-control"] == "no-store"
    assert "There is nothing at this address" in response.text


PAGE, PROBLEM = "text/html; charset=utf-8", "application/problem+json"


async def test_a_browser_gets_the_page_and_wakes_the_tenant(room: WaitingRoom) -> None:
    response = await room.fetch("/deep/link?tab=2", headers=BROWSER)
    is_waiting(response, PAGE)
    assert "/.berth/visit" in response.text
    assert [(each.method, each.path) for each in room.asked] == [("POST", f"/api/visits/{HOST}")]


async def test_a_program_gets_json_and_wakes_the_tenant(room: WaitingRoom) -> None:
    for method, path in [
        ("GET", "/"),
        ("POST", "/login"),
        ("PUT", "/a"),
        ("DELETE", "/a.png"),
        ("PATCH", "/a.b/c"),
        ("GET", "/orders.json"),
    ]:
        room.asked.clear()
        response = await room.fetch(
            path, method=method, headers={"Accept": "*/*", "Authorization": "Bearer x", "User-Agent": "curl/8"}
        )
        is_waiting(response, PROBLEM)
        assert response.json()["status"] == 503
        assert [each.method for each in room.asked] == ["POST"]


@pytest.mark.parametrize("path", ["/api/orders", "/api/"])
async def test_an_api_gets_json_in_a_browser_too(room: WaitingRoom, path: str) -> None:
    is_waiting(await room.fetch(path, headers=BROWSER), PROBLEM)
    assert [each.method for each in room.asked] == ["POST"]


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
        {"User-Agent": "facebookexternalhit/1.1"},
        {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
        {"User-Agent": "Mozilla/5.0 (compatible; bingbot/2.0)"},
        {"User-Agent": "WhatsApp/2.23"},
        {"User-Agent": "Mozilla/5.0 (Windows NT 6.1) SkypeUriPreview Preview/0.5"},
        {"User-Agent": "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"},
        {"User-Agent": "Edge Health Probe"},
        {"User-Agent": "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0; AppInsights)"},
        {"User-Agent": "Blackbox Exporter/0.27.0"},
        {"User-Agent": "Datadog/Synthetics"},
        {"User-Agent": "GoogleHC/1.0"},
        {"User-Agent": "ELB-HealthChecker/2.0"},
        {"User-Agent": "NewRelicPinger/1.0 (1234)"},
        {"User-Agent": "Checkly/1.0 (https://www.checklyhq.com)"},
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
    ],
    ids=lambda headers: next(iter(headers.values()))[:24],
)
async def test_robots_and_prefetches_wake_nobody(room: WaitingRoom, headers: dict[str, str]) -> None:
    is_waiting(await room.fetch("/", headers=BROWSER | headers), PAGE)
    await room.fetch("/.berth/visit", method="POST", headers=BROWSER | headers)
    assert [each.method for each in room.asked] == ["GET", "GET"]


@pytest.mark.parametrize("phone", ["CUBOT X18", "CUBOT_P20"])
async def test_a_phone_with_bot_in_its_name_is_no_robot(room: WaitingRoom, phone: str) -> None:
    agent = f"Mozilla/5.0 (Linux; Android 9; {phone}) AppleWebKit/537.36 Chrome/142.0 Mobile Safari/537.36"
    await room.fetch("/", headers=BROWSER | {"User-Agent": agent})
    assert [each.method for each in room.asked] == ["POST"]


@pytest.mark.parametrize(
    "path", ["/app.js", "/A.CSS", "/i/logo.png?v=1", "/favicon.ico", "/robots.txt", "/sitemap_index.xml"]
)
async def test_the_parts_of_a_page_wake_nobody(room: WaitingRoom, path: str) -> None:
    is_waiting(await room.fetch(path, headers=BROWSER), PROBLEM)
    assert [each.method for each in room.asked] == ["GET"]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("HEAD", "/", {}),
        ("OPTIONS", "/", {}),
        ("GET", "/.well-known/security", {}),
        ("GET", "/photo", {"Sec-Fetch-Dest": "image"}),
    ],
)
async def test_a_mere_look_wakes_nobody(room: WaitingRoom, method: str, path: str, headers: dict[str, str]) -> None:
    response = await room.fetch(path, method=method, headers=headers)
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert [each.method for each in room.asked] == ["GET"]


async def test_the_app_hears_the_host_and_nothing_else(room: WaitingRoom) -> None:
    headers = {
        "Cookie": f"session={SECRET}",
        "Authorization": f"Bearer {SECRET}",
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Host": "other.example.com",
        "X-Functions-Key": SECRET,
        "Referer": f"https://{HOST}/{SECRET}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = f"password={SECRET}".encode()
    for method, path in [
        ("POST", f"/{SECRET}?key={SECRET}"),
        ("GET", f"/?{SECRET}"),
        ("POST", f"/.berth/visit?{SECRET}"),
    ]:
        await room.fetch(path, method=method, content=body, headers=headers)
    await room.fetch("/a.js", method="GET", content=body, headers=headers)
    assert len(room.asked) == 4
    for each in room.asked:
        assert each.path == f"/api/visits/{HOST}"
        assert each.body == b""
        allowed = {"Host", "User-Agent", "Accept", "Accept-Encoding", "Content-Length"}
        assert each.headers.keys() <= allowed
        assert SECRET not in str(each.headers)
        assert each.headers["User-Agent"] == "berth-waiting-room"


async def test_a_body_in_chunks_stays_here_too(room: WaitingRoom) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(room.url).port)
    writer.write(
        f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{SECRET}\r\n0\r\n\r\n".encode()
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 503")
    writer.close()
    assert [each.body for each in room.asked] == [b""]


async def test_the_log_has_no_path_query_or_header(room: WaitingRoom, processes: Processes) -> None:
    await room.fetch(
        f"/{SECRET}?key={SECRET}",
        headers={"Cookie": SECRET, "Authorization": SECRET, "Referer": SECRET, "User-Agent": "seen/1"},
    )
    log = processes.log(room.name)
    entries = [json.loads(line) for line in await asyncio.to_thread(lambda: log.read_text().splitlines())]
    [entry] = [each for each in entries if each.get("user_agent") == "seen/1"]
    assert (entry["request"]["host"], entry["visit"], entry["status"]) == (HOST, "POST", 503)
    assert SECRET not in await asyncio.to_thread(log.read_text)


async def test_the_log_keeps_little_of_what_is_long(room: WaitingRoom, processes: Processes) -> None:
    log = processes.log(room.name)
    before = len(await asyncio.to_thread(log.read_bytes))
    agent = "a" * 199 + "x" * 20_000
    await room.fetch("/", host=f"{'h' * 20_000}.{DOMAIN}", headers={"User-Agent": agent})
    await room.fetch("/", method="M" * 20_000)
    written = (await asyncio.to_thread(log.read_bytes))[before:]
    entries = [json.loads(line) for line in written.splitlines()]
    [entry] = [each for each in entries if "user_agent" in each]
    assert (entry["user_agent"], entry["request"]["host"]) == (agent[:200], "h" * 200)
    assert {each["request"]["method"] for each in entries} == {"GET", "M" * 200}
    assert max(map(len, written.splitlines())) < 2000


async def test_an_unknown_host_gets_404(room: WaitingRoom) -> None:
    room.respond = problem(404)
    is_unknown(await room.fetch("/", headers=BROWSER), PAGE)
    is_unknown(await room.fetch("/", method="POST"), PROBLEM)
    is_unknown(await room.fetch("/app.js"), PROBLEM)
    is_unknown(await room.fetch("/.berth/visit"), PROBLEM)
    assert (await room.fetch("/", method="HEAD", headers=BROWSER)).status_code == 404


@pytest.mark.parametrize(
    "host",
    [
        *(DOMAIN, f"a.b.{DOMAIN}", f"%2e%2e.{DOMAIN}", f"a%2fb.{DOMAIN}", f"a_b.{DOMAIN}", f"a;b.{DOMAIN}"),
        *("other.example.com", f"acme.{DOMAIN}.", f"acme.{DOMAIN}.example.com", "127.0.0.1", "[::1]"),
    ],
)
async def test_the_app_is_not_asked_for_a_host_that_cannot_be(room: WaitingRoom, host: str) -> None:
    is_unknown(await room.fetch("/", host=host, headers=BROWSER), PAGE)
    is_unknown(await room.fetch("/.berth/visit", host=host), PROBLEM)
    assert room.asked == []


async def test_the_host_is_the_one_of_the_request_without_port(room: WaitingRoom) -> None:
    await room.fetch("/", host=f"beta.{DOMAIN}:8443", headers=BROWSER | {"X-Forwarded-Host": HOST})
    assert [each.path for each in room.asked] == [f"/api/visits/beta.{DOMAIN}"]


async def test_an_app_without_an_answer_delays_nobody_for_long(room: WaitingRoom) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    room.respond = hang
    began = time.monotonic()
    is_waiting(await room.fetch("/", headers=BROWSER), PAGE, "5")
    assert time.monotonic() - began < 4


async def test_a_flood_gets_the_page_and_spares_a_slow_app(room: WaitingRoom) -> None:
    full, go_on = asyncio.Event(), asyncio.Event()
    respond = room.respond

    async def slow(request: web.Request) -> web.StreamResponse:
        if len(room.asked) == AT_ONCE:
            full.set()
        await go_on.wait()
        return await respond(request)

    room.respond = slow
    questions = [asyncio.create_task(room.fetch("/.berth/visit")) for _ in range(AT_ONCE)]
    await asyncio.wait_for(full.wait(), 10)
    for page in await asyncio.gather(*(room.fetch("/", headers=BROWSER) for _ in range(100))):
        is_waiting(page, PAGE, "5")
    is_waiting(await room.fetch("/.berth/visit"), PROBLEM, "5")
    assert len(room.asked) == AT_ONCE  # and all of them still wait
    assert not any(each.done() for each in questions)
    go_on.set()
    assert {each.status_code for each in await asyncio.gather(*questions)} == {200}
    is_waiting(await room.fetch("/", headers=BROWSER), PAGE)


async def test_an_app_that_fails_is_no_404(room: WaitingRoom) -> None:
    async def foreign_404(_: web.Request) -> web.Response:
        return web.Response(status=404, text="<h1>404 Web Site not found.</h1>", content_type="text/html")

    async def drops(_: web.Request) -> web.Response:
        raise ConnectionResetError

    for respond in (problem(500), problem(503), problem(401), foreign_404, drops):
        room.respond = respond
        is_waiting(await room.fetch("/", headers=BROWSER), PAGE, "5")
        is_waiting(await room.fetch("/", method="POST"), PROBLEM, "5")
        is_waiting(await room.fetch("/.berth/visit"), PROBLEM, "5")


async def test_an_app_that_is_down_is_no_404(processes: Processes, ports: Ports) -> None:
    async with waiting_room(processes, ports, app=f"127.0.0.1:{ports.take()}") as room:
        is_waiting(await room.fetch("/", headers=BROWSER), PAGE, "5")
        is_waiting(await room.fetch("/", method="POST"), PROBLEM, "5")
        is_waiting(await room.fetch("/.berth/visit"), PROBLEM, "5")
        is_unknown(await room.fetch("/", host="other.example.com", headers=BROWSER), PAGE)


async def test_too_many_requests_wait_as_long_as_the_app_says(room: WaitingRoom) -> None:
    room.respond = problem(429, **{"Retry-After": "17"})
    is_waiting(await room.fetch("/", headers=BROWSER), PAGE, "17")
    response = await room.fetch("/.berth/visit")
    assert (response.status_code, response.headers["retry-after"]) == (429, "17")


async def test_the_page_hears_what_the_app_says(room: WaitingRoom) -> None:
    response = await room.fetch("/.berth/visit")
    assert (response.status_code, response.json()) == (200, VISIT)
    assert (response.headers["retry-after"], response.headers["x-berth-waiting"]) == ("3", "yes")
    assert response.headers["cache-control"] == "no-store"
    assert not {"set-cookie", "server", "via"} & response.headers.keys()
    await room.fetch("/.berth/visit", method="POST")
    assert [each.method for each in room.asked] == ["GET", "POST"]


async def test_ranges_and_validators_change_nothing(room: WaitingRoom) -> None:
    for headers in ({"Range": "bytes=0-3"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}):
        page = await room.fetch("/", headers=BROWSER | headers)
        is_waiting(page, PAGE)
        assert page.text.endswith("</html>\n")
        answer = await room.fetch("/app.js", headers=headers)
        is_waiting(answer, PROBLEM)
        assert answer.json()["status"] == 503


async def test_the_page_refreshes_itself_with_the_same_query(room: WaitingRoom) -> None:
    response = await room.fetch('/a?tab=2&q="><script>alert(1)</script>{{env "HOME"}}', headers=BROWSER)
    [refresh] = re.findall(r'<meta http-equiv="refresh" content="5; url=([^"]*)">', response.text)
    query = html.unescape(refresh)
    assert query.startswith("?tab=2&q=")
    assert httpx.URL(room.url).join(query).query == httpx.URL(str(response.url)).query
    assert "<script>alert" not in response.text
    room.respond = problem(500)
    assert '; url=?x=1">' in (await room.fetch("/a?x=1", headers=BROWSER)).text
