"""The cost ledger as the bill is compared with it."""

from datetime import timedelta
from decimal import Decimal

from shared.application.metered_days import MeteredDays
from shared.domain.assets import Sharing
from shared.domain.cost_components import Component
from tests.support.ledger import FIRST, new_ledger, use

DAY = timedelta(days=1)
ALL = tuple(Component)


async def test_final_days_have_all_that_the_assets_cost() -> None:
    for sharing in Sharing:
        held = await new_ledger(share_idle=sharing, share_overhead=sharing)
        held.has_nodes(2)
        await held.meter_at(FIRST)
        await held.log.change("acme", FIRST, use())
        await held.log.change("beta", FIRST + DAY, use(plan="standard"))
        await held.meter_at(FIRST + 3 * DAY + timedelta(hours=2))
        found = await MeteredDays(held.ledger, "USD").days(FIRST.date(), FIRST.date() + 10 * DAY, currency="USD")
        assert [each.day for each in found] == [FIRST.date() + number * DAY for number in range(3)]
        nodes = {each.of((Component.COMPUTE, Component.ATTACH, Component.IDLE)) for each in found}
        assert nodes == {Decimal("0.220") * 2 * 24}
        assert len({each.of((Component.OVERHEAD,)) for each in found}) == 1


async def test_another_currency_has_no_days() -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + 3 * DAY)
    assert not await MeteredDays(held.ledger, "USD").days(FIRST.date(), FIRST.date(), currency="EUR")
