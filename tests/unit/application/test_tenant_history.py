"""A slug's next owner sees nothing of the former one, and a deleted tenant keeps no personal data."""

import pytest

from shared.application.idempotent_start import Caller
from shared.domain.slugs import Slug
from shared.errors import NotFound
from tests.support.world import World, new_world

ACME = Slug("acme")
QUARANTINE = 31 * 24 * 3600.0


async def actions(world: World, *, limit: int = 100) -> list[tuple[str, str, str]]:
    """Return who did what in the audit trail that the API shows, newest first, with the state after it."""
    found: list[tuple[str, str, str]] = []
    token = ""
    while True:
        page = await world.worker.history.audit(ACME, limit=limit, token=token)
        found += [(entry.actor, entry.action, entry.after) for entry in page.items]
        token = page.next_token
        if not token:
            return found


async def deleted(actor: str = "former") -> World:
    """Return a world whose tenant was deleted."""
    world = await new_world()
    await world.sign_up(caller=Caller(actor))
    await world.run()
    world.clock.advance(1)
    await world.worker.delete.delete(ACME, Caller("leaver"), world.workflows)
    await world.run()
    return world


async def test_a_deleted_tenant_still_has_its_trail() -> None:
    world = await deleted()
    assert await actions(world) == [
        ("leaver", "delete", "deleted"),
        ("leaver", "delete", "deleting"),
        ("former", "provision", "active"),
        ("former", "provision", "provisioning"),
    ]
    assert await actions(world, limit=1) == await actions(world)


@pytest.mark.parametrize("limit", [1, 100])
async def test_the_next_owner_sees_only_its_own_trail(limit: int) -> None:
    world = await deleted()
    world.clock.advance(QUARANTINE)
    await world.sign_up(caller=Caller("next"))
    assert await actions(world, limit=limit) == [("next", "provision", "provisioning")]
    await world.run()
    assert await actions(world, limit=limit) == [
        ("next", "provision", "active"),
        ("next", "provision", "provisioning"),
    ]


async def test_the_next_owner_sees_only_its_own_operations() -> None:
    world = await deleted()
    deletion = (await world.tenant()).operation
    [signup, *_] = world.workflows.started
    for each in (signup, deletion.id):
        assert (await world.worker.history.operation(each)).id == each
    world.clock.advance(QUARANTINE)
    own = [await world.sign_up()]
    await world.run()
    world.clock.advance(1)
    own.append(await world.worker.delete.delete(ACME, Caller("next"), world.workflows))
    await world.run()
    for operation in own:
        assert (await world.worker.history.operation(operation.id)).id == operation.id
    for each in (signup, deletion.id):
        with pytest.raises(NotFound):
            await world.worker.history.operation(each)


async def test_following_an_open_operation_is_one_request() -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.worker.faults.reset()
    await world.worker.history.operation(operation.id)
    assert world.worker.faults.calls == ["get tenants"]


async def test_a_clock_that_was_set_back_hides_no_operation() -> None:
    world = await new_world()
    await world.active()
    world.clock.step(-3600)
    deletion = await world.worker.delete.delete(ACME, Caller("portal"), world.workflows)
    await world.run()
    assert (await world.worker.history.operation(deletion.id)).id == deletion.id


async def test_a_repeated_request_finds_the_former_operation() -> None:
    world = await new_world()
    await world.active()
    caller = Caller("former", "key-1", "delete")
    deletion = await world.worker.delete.delete(ACME, caller, world.workflows)
    await world.run()
    rows = world.storage.rows["tenants"]
    [tombstone] = [key for key in rows if key[1] == "tenant:acme"]
    rows[tombstone][0]["quarantine_until"] = world.clock.now()
    world.clock.advance(1)
    await world.active()
    again = await world.worker.delete.delete(ACME, caller, world.workflows)
    assert again.id == deletion.id
    assert (await world.tenant()).operation.id != deletion.id


async def test_there_is_no_trail_of_nobody() -> None:
    world = await new_world()
    with pytest.raises(NotFound):
        await world.worker.history.audit(ACME, limit=1, token="")


async def test_a_tombstone_keeps_no_personal_data() -> None:
    world = await deleted()
    [text] = [str(row) for (_, key), row in world.storage.rows["tenants"].items() if key == "tenant:acme"]
    for personal in ("owner@example.com", "Acme", "leaver", "former"):
        assert personal not in text
    assert "owner@example.com" not in str(world.storage.rows)
