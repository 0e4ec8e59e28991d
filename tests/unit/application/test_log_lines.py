"""Log lines: one for each event, with its tenant and operation, and never a person's data or a secret."""

import logging

import pytest
from pydantic import SecretStr

from shared.adapters.templates import YamlTenantTemplates
from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import TenantState
from shared.domain.operations import OperationId
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity
from shared.errors import Permanent, QueueFull, Transient
from tests.support.builders import PLANS, TENANT_SETTINGS, new_settings
from tests.support.world import PORTAL, new_world

ACME, ONE = Slug("acme"), ClusterName("one")
EMAIL, NAME, SEED = "marked-address@example.com", "Marked Name", "marked-seed-0123456789"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def only_line(log: pytest.LogCaptureFixture, event: str, operation: OperationId, *fields: str) -> None:
    """Assert that the log has one line of that event, which names `acme` and the operation, and forget the log."""
    found = [record.getMessage() for record in log.records if record.getMessage().startswith(event)]
    assert len(found) == 1, found
    for field in ("tenant=acme", f"operation={operation}", *fields):
        assert field in found[0].split(), found[0]
    log.clear()


async def test_every_change_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    operation = await world.sign_up(version="missing-1")
    only_line(log, "state changed", operation.id, "before=none", "after=provisioning")
    await world.run()
    only_line(log, "state changed", operation.id, "before=provisioning", "after=failed")
    operation = await world.worker.retry.retry(ACME, "1.0.0", PORTAL, world.workflows)
    only_line(log, "state changed", operation.id, "before=failed", "after=provisioning")
    await world.run()
    only_line(log, "state changed", operation.id, "before=provisioning", "after=active")
    operation = await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    only_line(log, "state changed", operation.id, "before=active", "after=deleting")
    await world.run()
    only_line(log, "state changed", operation.id, "before=deleting", "after=deleted")


async def test_a_cancellation_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    operation = await world.sign_up()
    log.clear()
    await world.cancel(operation)
    await world.cancel(operation)
    only_line(log, "state changed", operation.id, "operation_state=queued")


async def test_a_reservation_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    operation = await world.sign_up()
    for _ in range(2):
        await world.do(Activity.APPLY, operation)
    only_line(log, "reserved", operation.id, "cluster=one", "state=starting")


async def test_a_retried_activity_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.kubernetes[ONE].away = Transient("away")
    await world.do(Activity.APPLY, operation)
    only_line(log, "activity held up", operation.id, "cause=away")


async def test_a_failed_activity_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.kubernetes[ONE].away = Permanent("forbidden")
    await world.do(Activity.APPLY, operation)
    only_line(log, "activity failed", operation.id, "cause=forbidden")


async def test_a_recovery_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.clock.advance(301)
    await world.restart_lost()
    only_line(log, "orchestration stuck", operation.id)
    world.workflows.running.clear()
    world.clock.advance(60)
    await world.restart_lost()
    only_line(log, "orchestration lost", operation.id)
    world.workflows.away = True
    world.clock.advance(60)
    await world.restart_lost()
    only_line(log, "recovery failed", operation.id)


async def test_a_start_that_has_to_wait_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world()
    world.workflows.away = True
    operation = await world.sign_up()
    only_line(log, "operation not started yet", operation.id)


async def test_a_refused_signup_logs_one_line(log: pytest.LogCaptureFixture) -> None:
    world = await new_world(max_concurrent=1, max_queued=0)
    await world.sign_up("first")
    with pytest.raises(QueueFull):
        await world.sign_up()
    [line] = [record.getMessage() for record in log.records if "refused" in record.getMessage()]
    assert " tenant=acme operation=acme." in line


@pytest.mark.parametrize(
    ("version", "error", "expected"),
    [
        ("1.0.0", None, TenantState.ACTIVE),
        ("missing-1", None, TenantState.FAILED),
        ("never-ready-1", None, TenantState.FAILED),
        ("1.0.0", Permanent("forbidden"), TenantState.FAILED),
    ],
)
async def test_nothing_private_leaves_the_tables(
    version: str, error: Permanent | None, expected: TenantState, log: pytest.LogCaptureFixture
) -> None:
    tenants = TENANT_SETTINGS.model_copy(update={"secret_seed": SecretStr(SEED)})
    settings = new_settings().model_copy(update={"tenants": tenants})
    world = await new_world(settings=settings, templates=YamlTenantTemplates(tenants, PLANS))
    operation = await world.sign_up(email=EMAIL, display_name=NAME, version=version)
    world.worker.faults.away = lambda name: error if name == "apply" else None
    if error is None:
        await world.do(Activity.APPLY, operation)
        [objects] = [namespace.objects for namespace in world.kubernetes[ONE].namespaces.values()]
        secret = str(objects["Secret", "tenant"]["stringData"]["TENANT_SECRET"])
    else:
        secret = SEED
    await world.run()
    assert (await world.tenant()).state is expected
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    await world.run()
    told = [record.getMessage() + str(record.args) for record in log.records]
    told += [str(call.work.encode()) for call in world.delivered]
    told += [str(outcome.encode()) for outcome in world.outcomes]
    assert len(told) > 10
    for text in told:
        for private in (EMAIL, NAME, SEED, secret):
            assert private not in text
