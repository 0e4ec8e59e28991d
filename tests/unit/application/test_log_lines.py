"""Log lines: each event once, with its ids, and nothing personal or secret in any of them."""

import logging

import pytest

from shared.domain.slugs import Slug
from tests.support.builders import TENANT_SETTINGS
from tests.support.world import PORTAL, new_world

EMAIL, NAME = "marked-address@example.com", "Marked Name"


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [message for message in caplog.messages if message.startswith(f"{event} ")]


async def test_a_provisioning_logs_each_event_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = await new_world()
    tenant = await world.active()
    ids = f"tenant=acme operation={tenant.operation.id}"
    assert len(lines(caplog, "reservation asked for")) == 1
    assert len(lines(caplog, "transition")) == 2  # asked for, and active
    assert all(ids in line for line in lines(caplog, "transition") + lines(caplog, "reservation asked for"))


async def test_recovery_logs_what_it_does(caplog: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.workflows.running.clear()
    world.clock.advance(61)
    await world.worker.recovery.restart_lost(world.workflows)
    [line] = lines(caplog, "orchestration lost: starting it again")
    assert f"tenant=acme operation={operation.id}" in line


@pytest.mark.parametrize("version", ["1.0.0", "missing-1"])
async def test_nothing_personal_or_secret_leaves(caplog: pytest.LogCaptureFixture, version: str) -> None:
    caplog.set_level(logging.DEBUG)
    world = await new_world()
    await world.sign_up(email=EMAIL, display_name=NAME, version=version)
    await world.run()
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    seen = caplog.text + "".join(str(call.work.encode()) for call in world.delivered)
    assert "acme" in seen
    for secret in (EMAIL, NAME, TENANT_SETTINGS.secret_seed.get_secret_value()):
        assert secret not in seen
