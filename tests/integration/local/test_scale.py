"""The costs of requests and timers beside some hundred tenants. `./berth bench scale` has 100,000."""

from tests.bench.scale import empty_tables, scale


async def test_more_tenants_make_nothing_cost_more() -> None:
    async with empty_tables() as azurite:  # other tests leave operations open in theirs
        result = await scale(azurite, few=20, many=320, starting=3, waiting=30, minutes=2, samples=1)
    few, many = result.costs.values()
    assert {name: cost.requests for name, cost in few.items()} == {name: cost.requests for name, cost in many.items()}
    assert all(goal.met for goal in result.goals)
    assert result.waiting.hub == 0
