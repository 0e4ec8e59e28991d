"""The local Functions host and its task hub with a sample app: they behave as the real ones do."""

import asyncio
from collections.abc import AsyncIterator
from secrets import token_hex

import pytest

from local.ports import Ports
from local.processes import Processes
from tests.integration.host.hosts import KEYS, Host, sample_host


@pytest.fixture(scope="module")
async def host(processes: Processes, ports: Ports) -> AsyncIterator[Host]:
    async with sample_host(processes, ports, "sample", workers=1) as held:
        yield held


async def test_routes_have_a_prefix_constraints_and_optional_ends(host: Host) -> None:
    response = await host.http.post("v1/echo/7/more?a=1", content="body")
    assert response.status_code == 201
    assert response.text == "POST {'number': '7', 'rest': 'more'} {'a': '1'} body echo"
    assert (await host.http.get("v1/echo/7")).status_code == 201
    assert (await host.http.get("v1/echo/7/")).status_code == 201
    for path in ("v1/echo/seven", "v1/nothing", "api/echo/7"):
        assert (await host.http.get(path)).status_code == 404


async def test_a_wrong_method_is_not_found(host: Host) -> None:
    for method in ("DELETE", "HEAD"):
        response = await host.http.request(method, "v1/echo/7")
        assert (response.status_code, response.content) == (404, b"")


async def test_routes_are_tried_in_the_order_of_function_names(host: Host) -> None:
    expected = {
        ("GET", "v1/shelf/first"): "a_book",
        ("POST", "v1/shelf/first"): "shelf first",  # a_book takes only GET
        ("PROPFIND", "v1/shelf/second/third"): "shelf second/third",
        ("GET", "v1/shelf"): "shelf ",
    }
    for (method, path), text in expected.items():
        assert (await host.http.request(method, path)).text == text


async def test_a_header_cannot_split_the_response(host: Host) -> None:
    response = await host.http.get("v1/split")
    assert response.status_code == 500
    assert "X-Injected" not in response.headers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a=1", "a=1"),
        (
            "a=1; Path=/v1; Max-Age=60; HttpOnly; Secure; SameSite=Strict",
            "a=1; HttpOnly; Max-Age=60; Path=/v1; SameSite=strict; Secure",
        ),
        ("a=; Max-Age=0; Domain=example.com; SameSite=None", 'a=""; Domain=example.com; Max-Age=0; SameSite=none'),
    ],
)
async def test_a_response_sets_a_cookie(host: Host, given: str, expected: str) -> None:
    response = await host.http.get("v1/cookie", params={"cookie": given})
    assert response.headers.get_list("Set-Cookie") == [expected]


async def test_each_key_gives_access_to_its_level(host: Host) -> None:
    for path, accepted_by in (("keyed", {"master", "default"}), ("owner", {"master"})):
        assert (await host.http.get(f"v1/{path}")).status_code == 401
        assert (await host.http.get(f"v1/{path}", headers={"x-functions-key": "wrong"})).status_code == 401
        for name, key in KEYS.items():
            expected = 200 if name in accepted_by else 401
            assert (await host.http.get(f"v1/{path}", headers={"x-functions-key": key})).status_code == expected
            assert (await host.http.get(f"v1/{path}?code={key}")).status_code == expected


async def test_an_exception_is_an_empty_500_and_stays_in_the_log(host: Host) -> None:
    response = await host.http.get("v1/broken")
    assert (response.status_code, response.content) == (500, b"")
    assert "on purpose" in host.processes.log("sample-host").read_text()


async def test_what_the_app_logs_is_one_line_in_the_hosts_log(host: Host) -> None:
    await host.http.get("v1/log")
    assert "INFO    sample  first\\nsecond\n" in host.processes.log("sample-host").read_text()


async def test_without_telemetry_there_is_no_trace(host: Host) -> None:
    assert (await host.http.get("v1/trace/none")).text == ""


async def test_repeated_polling_is_logged_once(host: Host) -> None:
    text = token_hex(4)
    for _ in range(3):
        await host.http.get(f"v1/state/{text}")
        await host.http.get(f"v1/echo/7/{text}")
        await host.http.post(f"v1/echo/7/{text}")
    log = host.processes.log("sample-host").read_text()
    assert log.count(f"GET /v1/state/{text} -> 200") == log.count(f"GET /v1/echo/7/{text} -> 201") == 1
    assert log.count(f"POST /v1/echo/7/{text} -> 201") == 3


async def test_one_worker_runs_invocations_side_by_side(host: Host) -> None:
    responses = await asyncio.gather(*(host.http.get("v1/meet") for _ in range(5)))  # each waits for the other four
    assert {response.text for response in responses} == {"met"}


async def test_a_timer_fires_when_asked(host: Host) -> None:
    path = "admin/functions/tick"
    assert (await host.http.post(path, json={})).status_code == 401
    master = {"x-functions-key": KEYS["master"]}
    assert (await host.http.post(path, json={}, headers=master)).status_code == 202
    await host.noted("tick False")
    assert (await host.http.post("admin/functions/nothing", json={}, headers=master)).status_code == 404


@pytest.mark.parametrize(
    ("orchestration", "text", "result"),
    [
        ("chain", "x", "COMPLETED xabcd"),
        ("fan_out", "f", "COMPLETED f0,f1,f2,f3,f4"),
        ("asking", "hurry", "COMPLETED nobody answered"),
        ("parent", "p", "COMPLETED pabcd"),
        ("counting", "", "COMPLETED 5"),
        ("again", "x", "COMPLETED xxx"),
    ],
)
async def test_orchestrations(host: Host, orchestration: str, text: str, result: str) -> None:
    assert await host.result(await host.start(orchestration, text)) == result


async def test_a_retry_policy_is_kept(host: Host) -> None:
    text = token_hex(4)
    assert f"cannot do {text}" in await host.result(await host.start("retrying", text))
    assert host.count(f"fail {text}") == 3


async def test_an_event_reaches_a_waiting_orchestration(host: Host) -> None:
    instance = await host.start("asking", "wait")
    await host.http.post(f"v1/raise/{instance}", content="yes")
    assert await host.result(instance) == "COMPLETED yes"


async def test_a_terminated_orchestration_ends(host: Host) -> None:
    instance = await host.start("asking", "wait")
    await host.http.post(f"v1/terminate/{instance}")
    assert (await host.result(instance)).startswith("TERMINATED")


async def test_the_work_of_a_killed_host_is_dispatched_again(host: Host) -> None:
    text = token_hex(4)
    instance = await host.start("slow", text)
    await host.noted(f"begin {text}")
    host.processes.kill("sample-host")
    await host.processes.restart("sample-host")
    assert await host.result(instance) == f"COMPLETED {text}"
    assert (host.count(f"begin {text}"), host.count(f"end {text}")) == (2, 1)


async def test_sigterm_lets_running_activities_finish(host: Host) -> None:
    text = token_hex(4)
    instance = await host.start("slow", text)
    await host.noted(f"begin {text}")
    await host.processes.restart("sample-host")
    assert await host.result(instance) == f"COMPLETED {text}"
    assert (host.count(f"begin {text}"), host.count(f"end {text}")) == (1, 1)


async def test_the_host_reconnects_to_a_new_task_hub(host: Host) -> None:
    host.processes.kill("sample-hub")
    await host.processes.restart("sample-hub")
    assert await host.result(await host.start("chain", "n")) == "COMPLETED nabcd"
