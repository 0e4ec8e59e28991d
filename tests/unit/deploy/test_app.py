"""How the hook after a deployment waits for the app: its secrets, then its host, then its key."""

from argparse import Namespace
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from cli.deploy.azure import Azure
from cli.deploy.register import wait_for_secrets
from cli.deploy.run import run
from cli.deploy.waiting import NotYetError, Waiting
from tests.support.fake_azure import FakeAzure, new_deployment

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
async def host() -> AsyncIterator[str]:
    """Where a host responds whose app has no tables yet."""

    async def respond(request: web.Request) -> web.Response:
        if request.path == "/api/healthz":
            return web.json_response({"status": "ok"})
        key = request.headers["x-functions-key"]
        return web.json_response({"checks": {"tables": f"asked with {key}", "task hub": "ok"}})

    app = web.Application()
    app.router.add_get("/{path:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def app(*, wait: float) -> Namespace:
    return Namespace(action="app", wait=wait)


async def test_a_host_that_is_down_is_not_asked_for_its_key() -> None:
    fake = FakeAzure(new_deployment(app_url=NOWHERE))
    with pytest.raises(NotYetError, match="the app does not respond"):
        await run(app(wait=0.0), fake)
    assert not [each for each in fake.lines if "keys" in each]


async def test_a_key_that_is_not_given_is_named(host: str) -> None:
    fake = FakeAzure(new_deployment(app_url=host))
    fake.key_errors = 1
    with pytest.raises(NotYetError, match=r"does not give its key: .*ServiceUnavailable from host runtime"):
        await run(app(wait=0.0), fake)


async def test_the_app_is_asked_with_its_key(host: str) -> None:
    fake = FakeAzure(new_deployment(app_url=host))
    with pytest.raises(NotYetError, match="the app's tables: asked with key"):
        await run(app(wait=0.0), fake)


async def secrets_are_read(statuses: list[str], *, seconds: float = 5) -> tuple[FakeAzure, list[str]]:
    found, lines = new_deployment(), list[str]()
    fake, waiting = FakeAzure(found), Waiting(seconds, pause=0, say=lines.append)
    fake.secret_statuses = statuses
    await wait_for_secrets(Azure(fake, found, waiting), waiting)
    return fake, lines


def refreshes(fake: FakeAzure) -> int:
    return sum("/refresh?" in each for line in fake.lines for each in line)


async def test_secrets_that_come_late_start_the_app_anew() -> None:
    fake, lines = await secrets_are_read(["AccessToKeyVaultDenied", "AccessToKeyVaultDenied", "Resolved"])
    assert (refreshes(fake), fake.restarts) == (2, 1)
    assert "cannot read BERTH_TENANTS_SECRET_SEED (AccessToKeyVaultDenied)" in lines[0]


async def test_an_app_that_has_its_secrets_goes_on() -> None:
    fake, _ = await secrets_are_read(["Resolved"])
    assert (refreshes(fake), fake.restarts) == (0, 0)


async def test_secrets_that_never_come_are_named() -> None:
    with pytest.raises(NotYetError, match=r"BERTH_TENANTS_SECRET_SEED \(SecretNotFound\).*deploy cluster"):
        await secrets_are_read(["SecretNotFound"], seconds=0.05)
