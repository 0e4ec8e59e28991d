"""Nothing private is exported, logged, handed to an orchestration or kept in the audit trail, whatever callers send.

Each private text has a mark in it. Every route gets all of them, where they belong and where they do not, and
Kubernetes and the tables quote some back. Then the marks are looked for.
"""

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from aiohttp import web
from durabletask.client import AsyncTaskHubGrpcClient

from cli.api import Json
from cli.ops import new_link
from functions.http.api import ROUTES
from functions.http.pages.session import COOKIE
from functions.http.route import Route
from local.host.exporting import ROLE
from local.kubernetes.control_plane import BERTH, kubectl
from local.stack import Stack
from shared.domain.slugs import Slug
from tests.bench.scale import tables_of
from tests.support.builders import new_slug
from tests.support.fault_proxy import Exchange
from tests.support.polling import until
from tests.support.private_texts import quotes_of
from tests.support.stack import ProxiedStack, proxied_stack

MARK = "zq7mark"
EMAIL = f"{MARK}-owner@example.com"
NAME = f"{MARK} display"
REASON = f"{MARK}-reason"  # of an operator, for the audit trail
ACTOR = f"{MARK}-actor@example.com"
# Azure's host records the path of a request, whoever put what there. Nobody else does.
PATH = "zq7path"
IN_PATH = f"{PATH}@example.com"
SEED = f"{MARK}-seed-0123456789abcdef0123456789abcdef"
OPS_KEY = f"{MARK}-ops-0123456789abcdef0123456789abcdef"
TOKEN = f"{MARK}-token"
QUOTES = list(quotes_of(TOKEN).values())  # a secret in each form in which something may quote it
SETTINGS = {
    "BERTH_TENANTS_SECRET_SEED": SEED,
    "BERTH_OPS_KEY": OPS_KEY,
    "BERTH_TABLES_TOTAL_TIMEOUT": "2",
    "BERTH_KUBERNETES_TOTAL_TIMEOUT": "3",
    "BERTH_PROVISIONING_DOUBT_FAIL_AFTER": "2",
}
HEADERS = {
    "Idempotency-Key": f"{MARK}-idempotency",
    "Authorization": f"Bearer {MARK}-bearer",
    "Cookie": f"{COOKIE}={MARK}-cookie",
    "X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps({"name": EMAIL}).encode()).decode(),
}
WRONG = {MARK: f"{MARK}-value", "email": [EMAIL], "display_name": {"x": NAME}, "slug": EMAIL, "plan": EMAIL}
AT_ONCE = 8  # requests

pytestmark = pytest.mark.timeout(300)


@dataclass
class Life:
    """What was done on a stack, and the texts that must not be found."""

    berth: ProxiedStack
    slugs: list[Slug]
    private: dict[str, str]

    async def envelopes(self, *, host: bool) -> list[str]:
        """Return what was exported by the host, or by the app."""
        sent = await self.berth.stack.telemetry.envelopes()
        return [json.dumps(each) for each in sent if (each["tags"]["ai.cloud.role"] == ROLE) == host]

    def log(self) -> list[str]:
        return self.berth.stack.processes.log("host").read_text().splitlines()

    async def payloads(self) -> list[str]:
        """Return all that the task hub has of each orchestration."""
        command = psutil.Process(self.berth.stack.processes.pids()["task-hub"]).cmdline()
        client = AsyncTaskHubGrpcClient(host_address=f"127.0.0.1:{command[command.index('--port') + 1]}")
        states = await client.get_all_orchestration_states()
        histories = [await client.get_orchestration_history(each.instance_id) for each in states]
        await client.close()
        return [str(each) for each in states] + [str(event) for each in histories for event in each]

    async def audit(self) -> list[str]:
        """Return the rows of the audit trail."""
        tables = tables_of(self.berth.stack.azurite)
        rows = [str(row) async for row, _ in tables.query("tenants", "RowKey ge @first", {"first": ""})]
        await tables.close()
        return [each for each in rows if "audit" in each]

    def found(self, lines: Sequence[str], *, allowed: Sequence[str] = ()) -> list[str]:
        """Return the lines that have a private text, with its name."""
        wanted = {name: text for name, text in self.private.items() if text not in allowed}
        return [f"{name}: {line}" for line in lines for name, text in wanted.items() if text in line]


def refusal(status: int, message: str) -> web.Response:
    """Return a response of an API server."""
    content = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    return web.json_response(content, status=status)


def signup() -> Json:
    """Return a good signup."""
    return {"slug": new_slug(), "plan": "trial", "region": "local", "email": EMAIL, "display_name": NAME}


def requests_to(stack: Stack, route: Route) -> list[dict[str, Any]]:
    """Return what is sent to a route: bodies that are wrong in each way that matters here, and each key."""
    master = {**HEADERS, "x-functions-key": stack.master_key}
    contents = [json.dumps(WRONG)]
    if route.method != "GET":
        wrong = [signup(), {**signup(), "slug": EMAIL}, {**signup(), MARK: EMAIL}, {"reason": EMAIL}, {"state": EMAIL}]
        contents += [f'{{"email": "{EMAIL}"', *(json.dumps(each) for each in wrong)]
    return [
        {"headers": HEADERS},
        {"headers": {**HEADERS, "x-functions-key": stack.function_key}},
        {"headers": HEADERS, "params": {"code": stack.master_key}},
        {"headers": {**master, "Berth-Actor": ACTOR}},
        {"headers": master, "params": {EMAIL: EMAIL}},
        {"headers": master, "params": dict.fromkeys(("next", "state", "limit", "find", "from"), EMAIL)},
        *({"headers": {**master, "Content-Type": "application/json"}, "content": each} for each in contents),
    ]


async def send_everything(stack: Stack, slug: str, operation: str, sweep: str) -> None:
    """Send each route every text, in a good path and in one with an address."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def send(method: str, path: str, request: dict[str, Any]) -> None:
        async with slots:
            await http.request(method, path, **request)

    async with (
        httpx.AsyncClient(base_url=f"{stack.api_url}/api/", trust_env=False, timeout=60) as http,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(send("GET", IN_PATH, {"headers": HEADERS}))
        for route in ROUTES.values():
            good = {"slug": slug, "id": sweep if "sweeps" in route.path else operation, "name": "local"}
            good |= {"host": f"{slug}.example.com", "kind": "not-found", "hash": "none"}
            for values in (good, dict.fromkeys(good, IN_PATH)):
                path = re.sub(r"\{(\w+)\}", lambda name, values=values: quote(values[name[1]], safe=""), route.path)
                for request in requests_to(stack, route):
                    group.create_task(send(route.method, path, request))


async def fail_everywhere(berth: ProxiedStack, slugs: list[Slug]) -> None:
    """Let Kubernetes and the tables fail, and quote what they were sent."""

    def refuse(status: int, what: str, times: int, quotes: Sequence[str]) -> None:
        left = [times]

        async def before(exchange: Exchange) -> web.Response | None:
            if exchange.method != "PATCH" or f"/{what}" not in exchange.path or not left[0]:
                return None
            left[0] -= 1
            body = json.loads(exchange.body)
            quoted = json.dumps([body.get("data"), body.get("stringData"), *quotes])  # berth keeps 300 characters
            return refusal(status, f'admission webhook "names" denied {quoted}')

        berth.kubernetes.before = before

    for number, (status, what, times) in enumerate(
        ((503, "configmaps", 1), (400, "configmaps", 99), (403, "secrets", 99))
    ):
        refuse(status, what, times, QUOTES[number::3])
        slugs.append(new_slug())
        await berth.ended(await berth.sign_up(slugs[-1], email=EMAIL, display_name=NAME))
        berth.reset()

    async def break_tables(exchange: Exchange) -> web.Response | None:
        message = f"{' '.join(QUOTES)} are not allowed; {exchange.path}"
        error = {"odata.error": {"code": "ServerBusy", "message": {"lang": "en-US", "value": message}}}
        return web.json_response(error, status=503)

    async def answer_nonsense(exchange: Exchange) -> web.Response | None:
        # No time, which the library for the tables does not expect: its error quotes it.
        row = {"PartitionKey": "a", "RowKey": "b", "at@odata.type": "Edm.DateTime", "at": " ".join(QUOTES)}
        return web.json_response({**row, "value": [row]}) if exchange.method == "GET" else None

    headers = {**HEADERS, "x-functions-key": berth.stack.master_key}
    async with httpx.AsyncClient(base_url=f"{berth.stack.api_url}/api/", headers=headers, trust_env=False) as http:
        for hook in (break_tables, answer_nonsense):
            berth.tables.before = hook
            for path in (f"tenants/{slugs[0]}", "tenants", "sweeps"):
                assert (await http.get(path, timeout=30)).is_error, path
            assert (await http.post("tenants", json=signup(), timeout=30)).is_error
        berth.reset()


async def forget(berth: ProxiedStack, slug: Slug) -> None:
    """Give a tenant up whose namespace was removed by hand, for a reason in words."""
    instance = (await berth.api.call("GET", f"tenants/{slug}"))["instance"]
    await kubectl(berth.stack.control_plane, "delete", "namespace", f"tenant-{instance}")
    await berth.operators.call("POST", f"tenants/{slug}/forget", {"reason": REASON}, headers={"Berth-Actor": "night"})


async def use_pages(berth: ProxiedStack, slug: str) -> None:
    """Open the pages as an operator who is signed in, with private texts in forms."""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True, timeout=60) as http:
        page = await http.get(await new_link(berth.operators))
        for route in ROUTES.values():
            if route.path.startswith("ops/tenants/"):
                path = f"{berth.stack.api_url}/api/{route.path.replace('{slug}', slug)}"
                form = {"confirm": EMAIL, "Berth-Form-Token": TOKEN} if route.method == "POST" else None
                await http.request(route.method, path, params={"find": EMAIL}, data=form)
        assert page.is_success


def credentials(stack: Stack, slug_secret: str) -> dict[str, str]:
    """Return the secrets that the stack works with."""
    pair = stack.control_plane.authority.client(BERTH)
    key = Path(pair.key).read_text().splitlines()
    account = dict(part.split("=", 1) for part in stack.tables_connection.split(";") if "=" in part)["AccountKey"]
    return {
        "a private text": MARK,
        "a path": PATH,
        "the function key": stack.function_key,
        "the master key": stack.master_key,
        "the account key": account,
        "the kubeconfig's client key": key[len(key) // 2],
        "a tenant's secret": slug_secret,
    }


@asynccontextmanager
async def lived() -> AsyncGenerator[Life]:
    async with proxied_stack(SETTINGS, telemetry=True) as berth:
        slugs = [new_slug()]
        operation = await berth.ended(await berth.sign_up(slugs[0], email=EMAIL, display_name=NAME))
        assert operation["state"] == "succeeded"
        tenant = await berth.api.call("GET", f"tenants/{slugs[0]}")
        secret = await tenant_secret(berth.stack, tenant["instance"])
        sweep: Json = await berth.operators.call("POST", "sweeps", {"dry_run": True})
        await send_everything(berth.stack, slugs[0], operation["id"], sweep["id"])
        await use_pages(berth, slugs[0])
        await fail_everywhere(berth, slugs)
        await forget(berth, slugs[1])
        life = Life(berth, slugs, credentials(berth.stack, secret))
        await is_sent(life)
        yield life


async def tenant_secret(stack: Stack, instance: str) -> str:
    """Return what the tenant's Secret holds."""
    command = ("get", "secret", "tenant", "-n", f"tenant-{instance}", "-o", "jsonpath={.data.TENANT_SECRET}")
    found = await kubectl(stack.control_plane, *command)
    return base64.b64decode(found).decode()


async def is_sent(life: Life) -> None:
    """Wait until the last request was exported."""
    await life.berth.api.call("GET", "slugs/the-last-one")

    async def arrived() -> bool:
        return any("the-last-one" in each for each in await life.envelopes(host=True))

    await until(arrived, seconds=60)


@pytest.fixture(scope="module")
async def life() -> AsyncIterator[Life]:
    async with lived() as made:
        yield made


async def test_what_was_done_reached_what_it_should(life: Life) -> None:
    log = "\n".join(life.log())
    for text in ("kubernetes refused", "request failed", "request broke off", "retry"):
        assert text in log, text
    assert "(removed)" in log
    app = await life.envelopes(host=False)
    assert any("kubernetes refused" in each and "(removed)" in each for each in app)
    assert any('"ExceptionData"' in each for each in app)
    assert len(await life.payloads()) > 20
    assert len(await life.audit()) > 3


async def test_the_app_exports_nothing_private(life: Life) -> None:
    assert life.found(await life.envelopes(host=False)) == []


async def test_the_host_exports_nothing_private(life: Life) -> None:
    envelopes = await life.envelopes(host=True)
    assert life.found(envelopes, allowed=[PATH]) == []
    for each in (json.loads(each) for each in envelopes if PATH in each):
        data = each["data"]["baseData"]
        assert PATH not in json.dumps({**data, "url": "", "properties": {**data["properties"], "url.path": ""}})


async def test_no_line_of_the_log_is_private(life: Life) -> None:
    lines = [each for each in life.log() if not (" http " in each and f"{PATH}@" in each)]
    assert life.found(lines) == []


async def test_no_orchestration_is_told_anything_private(life: Life) -> None:
    assert life.found(await life.payloads()) == []


async def test_the_audit_trail_has_only_the_reason(life: Life) -> None:
    rows = await life.audit()
    assert any(REASON in each for each in rows), rows
    assert life.found([each.replace(REASON, "") for each in rows]) == []
