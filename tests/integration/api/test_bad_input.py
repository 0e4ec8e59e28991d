"""Invalid input gets a problem document, and nothing is written to the tables or to Kubernetes.

The invalid requests are in the tables of bad_bodies.py and bad_requests.py; unusual but valid values are here.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

import httpx
import pytest
from azure.data.tables.aio import TableServiceClient

from cli.api import Json
from local.kubernetes.control_plane import kubectl
from tests.integration.api import bad_bodies, bad_requests
from tests.integration.api.bad_bodies import Case
from tests.support.builders import signup_body
from tests.support.stack import ProxiedStack

CONCURRENCY = 16
GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "signups": bad_bodies.signups,
    "retries": bad_bodies.retries,
    "forgets": bad_bodies.forgets,
    "policies": bad_bodies.policies,
    "activities": bad_bodies.activities,
    "whole bodies": bad_bodies.whole_bodies,
    "clusters": bad_requests.clusters,
    "paths": bad_requests.paths,
    "queries": bad_requests.queries,
    "headers": bad_requests.headers,
    "without key": bad_requests.without_key,
}

VALID_NAMES = [
    "{{ 7*7 }} {% raw %} {# no #} ${HOME} $(id) `id` %s %(x)s {0} <%= 1 %> #{1}",
    "key: value - & * ! | > % @ # [a, b] {c: d} ? ~ --- ... null",
    "'; DROP TABLE tenants; -- or 1 eq 1 \" \\ / ' '' @shard =1+1",
    '","plan":"enterprise"} \\u0041 \\n \\ud800 &amp; <script>alert(1)</script> <!--',
    "Ünïcode Ελληνικά Кириллица 日本語 한국어 العربية עברית हिन्दी ไทย",
    "e\u0301 \u00e9 ﬁ Ⅻ ① \U0001d518 \U00020bb7 🚢 🇩🇪 👍🏽 ❤\ufe0f \ufffd \u0301\u0301",
    "\U0001f6a2" * 100,
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f680",
    "~",
    "null",
    "0x1F",
]
VALID_EMAILS = ["o'brien@example.com", "{{7*7}}+a@example.com", "用户@example.com", "a'or'1'='1@bücher.de"]
VALID_VERSIONS = ["1", "v1.0_-A", "_", "true", "null", "9" * 63]
VALID_SLUGS = ["null", "true", "n-o", "a" * 40, "e10", "abc"]
VALID_ACTOR = "Jürgen {{ 7*7 }} ' or 1 eq 1 🚢 <b> \\"


class RawClient:
    """Sends requests exactly as they are given, up to 16 at the same time."""

    def __init__(self, berth: ProxiedStack, tenant: Json) -> None:
        self._berth = berth
        self._tenant = tenant
        self._semaphore = asyncio.Semaphore(CONCURRENCY)
        self._http = httpx.AsyncClient(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=CONCURRENCY))

    async def __aenter__(self) -> "RawClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def target(self, case: Case) -> str:
        content = {"TENANT": self._tenant["slug"], "OPERATION": self._tenant["operation"]}
        target = f"/api/{case.path}".replace("FUNCTION", self._berth.stack.function_key)
        for name, value in content.items():
            target = target.replace(name, value)
        return target

    async def send(self, case: Case) -> httpx.Response:
        stack = self._berth.stack
        key = {"function": stack.function_key, "master": stack.master_key, "wrong": "wrong", "empty": ""}.get(case.key)
        headers = [*case.headers, *([] if key is None else [("x-functions-key", key.encode())])]
        raw = [(name.encode(), value) for name, value in headers]
        request = self._http.build_request(case.method, stack.api_url, headers=raw, content=case.body)
        request.extensions["target"] = self.target(case).encode()  # which httpx would otherwise normalise
        async with self._semaphore:
            return await self._http.send(request)

    def violations(self, case: Case, response: httpx.Response) -> Iterator[str]:
        """Yield each way in which a response is not as the case requires."""
        if response.status_code != case.status:
            yield f"{response.status_code} instead of {case.status}: {response.text[:300]}"
        if "x-injected" in response.headers:
            yield "a header was injected"
        if case.status == 401:
            if response.content:
                yield f"the host sent a body: {response.text[:300]}"
            return
        if response.headers.get("Content-Type", "").split(";")[0] != "application/problem+json":
            yield f"no problem document: {response.headers.get('Content-Type')} {response.text[:300]}"
            return
        problem = response.json()
        yield from self._document(case, response, problem)
        given = tuple(each["pointer"] for each in problem.get("errors", []))
        if case.pointers is not None and given != case.pointers:
            yield f"points at {given} instead of {case.pointers}: {problem.get('errors')}"

    def _document(self, case: Case, response: httpx.Response, problem: Json) -> Iterator[str]:
        if not all(problem.get(name) for name in ("type", "title", "detail")):
            yield f"lacks type, title or detail: {problem}"
        if problem.get("status") != response.status_code:
            yield f"has the status {problem.get('status')}"
        if problem.get("instance") != self.target(case).partition("?")[0]:
            yield f"has the instance {problem.get('instance')!a}"
        if not all(each["detail"] for each in problem.get("errors", [])):
            yield f"an error has no detail: {problem['errors']}"
        if any(text in response.text for text in ("Traceback", "pydantic", "instance of", "sys.")):
            yield f"shows internals: {response.text[:300]}"


async def read_everything(berth: ProxiedStack) -> Json:
    """Return every row of every table, and the tenants' namespaces."""
    plane = berth.stack.control_plane
    selector = ["-l", "app.kubernetes.io/managed-by=berth"]
    namespaces = asyncio.create_task(kubectl(plane, "get", "namespaces", *selector, "-o", "name"))
    content: Json = {}
    async with TableServiceClient.from_connection_string(berth.stack.tables_connection) as service:
        async for table in service.list_tables():
            if table.name == "reconciliations":  # written by timers only, at any time
                continue
            async for row in service.get_table_client(table.name).list_entities():
                content[f"{table.name} {row['PartitionKey']} {row['RowKey']}"] = dict(row)
    return content | dict.fromkeys((await namespaces).split(), "namespace")


async def active_tenant(berth: ProxiedStack) -> Json:
    """Return an active tenant, which the requests could damage."""
    active = await berth.api.call("GET", "tenants", state="active", limit=1)
    return active["items"][0]


async def check_rejected(berth: ProxiedStack, cases: Sequence[Case]) -> None:
    """Send all cases; fail if one gets another response than it should, or if anything is written."""
    async with RawClient(berth, await active_tenant(berth)) as client:
        before = await read_everything(berth)
        berth.reset()
        responses = await asyncio.gather(*(client.send(case) for case in cases))
        written = berth.tables.writes + berth.kubernetes.writes
        found = [
            f"{case.about}: {violation}"
            for case, response in zip(cases, responses, strict=True)
            for violation in client.violations(case, response)
        ]
        if written:
            for case in cases:  # one by one, to find out which one it is
                if berth.tables.writes or berth.kubernetes.writes:
                    await berth.at_rest()
                    berth.reset()
                await client.send(case)
                if berth.tables.writes or berth.kubernetes.writes:
                    found.append(f"{case.about}: something was written")
    after = await read_everything(berth)
    found += [f"changed: {key}" for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    assert not found, f"{len(found)} of {len(cases)}:\n" + "\n".join(found[:40])
    assert not written


@pytest.mark.parametrize("group", GROUPS)
async def test_invalid_input_is_rejected_and_nothing_is_written(berth: ProxiedStack, group: str) -> None:
    await check_rejected(berth, list(GROUPS[group]()))


async def test_unknown_paths_and_methods_get_problem_documents(berth: ProxiedStack) -> None:
    def case(request: str, status: int) -> Case:
        method, path = request.split(":", 1)
        content, headers = (b"", ()) if method in ("GET", "DELETE") else (bad_bodies.GOOD.encode(), bad_bodies.JSON)
        return Case(f"{method} {path}", method, path, status, None, content, headers, "master")

    await check_rejected(
        berth,
        [case(each, 404) for each in bad_requests.UNKNOWN_PATHS]
        + [case(each, 405) for each in bad_requests.WRONG_METHODS],
    )


async def test_malformed_http_writes_nothing(berth: ProxiedStack) -> None:
    port = httpx.URL(berth.stack.api_url).port
    assert port is not None
    head = f"Host: 127.0.0.1\r\nx-functions-key: {berth.stack.function_key}\r\nContent-Type: application/json\r\n"

    async def status(content: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(content)
            writer.write_eof()
            line = await asyncio.wait_for(reader.readline(), 10)
            return int(line.split()[1]) if line else 0
        except ConnectionError:
            return 0  # the server closed the connection, which is fine too
        finally:
            writer.close()

    before = await read_everything(berth)
    berth.reset()
    requests = bad_requests.malformed(head)
    statuses = dict(zip(requests, await asyncio.gather(*map(status, requests.values())), strict=True))
    assert {about: code for about, code in statuses.items() if code and not 400 <= code < 500} == {}
    assert (await berth.api.call("GET", "healthz")) == {"status": "ok"}
    assert (berth.tables.writes, berth.kubernetes.writes, await read_everything(berth)) == (0, 0, before)


async def test_unusual_but_valid_values_are_returned_unchanged(berth: ProxiedStack) -> None:
    def body(number: int) -> Json:
        slug = VALID_SLUGS[number] if number < len(VALID_SLUGS) else f"valid-{number}"
        email = VALID_EMAILS[number % len(VALID_EMAILS)]
        version = VALID_VERSIONS[number % len(VALID_VERSIONS)]
        return signup_body(slug, display_name=VALID_NAMES[number], email=email, version=version)

    bodies = [body(number) for number in range(len(VALID_NAMES))]
    async with RawClient(berth, await active_tenant(berth)) as client:
        actor = ("Berth-Actor", VALID_ACTOR.encode())
        key = ("Idempotency-Key", b"{{7*7}} ' or 1 eq 1 / \\ # ? @shard")
        for number, each in enumerate(bodies):
            text = json.dumps(each, ensure_ascii=number % 2 == 0).encode()
            case = Case("", "POST", "tenants", 202, None, text, (*bad_bodies.JSON, actor, *([] if number else [key])))
            response = await client.send(case)
            assert response.status_code == 202, response.text
            if number == 0:
                assert (await client.send(case)).json()["id"] == response.json()["id"]
            bodies[number]["operation"] = response.json()
    for each in bodies:
        operation = await berth.ended(each.pop("operation"))
        assert operation["state"] == "succeeded", operation["reason"]
    plane = berth.stack.control_plane
    listed = json.loads(
        await kubectl(plane, "get", "configmap", "-A", "--field-selector=metadata.name=tenant", "-o", "json")
    )
    names = {each["metadata"]["namespace"]: each["data"]["TENANT_NAME"] for each in listed["items"]}
    tenants = {each["slug"]: each for each in await berth.api.all("tenants", limit=3)}
    for each in bodies:
        tenant = await berth.api.call("GET", f"tenants/{each['slug']}")
        assert tenants[each["slug"]].items() <= tenant.items()
        assert {name: tenant[name] for name in each} == each
        assert names[f"tenant-{tenant['instance']}"] == each["display_name"]
        trail = await berth.api.all(f"tenants/{each['slug']}/audit", limit=1)
        assert {entry["actor"] for entry in trail} == {VALID_ACTOR}


async def test_the_slug_check_takes_any_text(berth: ProxiedStack) -> None:
    berth.reset()
    for slug in ("ACME", "a' or 1 eq 1", "{{7*7}}", "a\0\r\nb", "ünï 🚢", "a\\b#c?d", "kube-system", "a" * 2000):
        async with RawClient(berth, await active_tenant(berth)) as client:
            response = await client.send(Case(slug, "GET", "slugs/" + quote(slug, safe=""), 200))
        assert (response.status_code, response.json()["slug"], response.json()["free"]) == (200, slug, False)
        assert response.json()["reason"]
    assert (berth.tables.writes, berth.kubernetes.writes) == (0, 0)
