"""The container on real table storage."""

from secrets import token_hex

import pytest

from functions.container import Container
from local.table_server import Azurite, connection_string
from shared.adapters.prices import load_prices
from shared.settings import load_settings
from tests.support.retail_prices import RetailPricesStandIn


@pytest.fixture
def environment(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of a good berth."""
    variables = {
        "BERTH_TABLES_CONNECTION": connection_string(azurite.endpoint),
        "BERTH_TENANTS_OWNER": "tests",
        "BERTH_TENANTS_IMAGE": "registry.example.com/product",
        "BERTH_TENANTS_DEFAULT_VERSION": "1.0",
        "BERTH_TENANTS_SECRET_SEED": token_hex(16),
        "BERTH_RECOVERY_SCHEDULE": "0 * * * * *",
        "BERTH_SWEEP_SCHEDULE": "0 30 2 * * *",
        "BERTH_PRICES_SCHEDULE": "0 23 4 * * *",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


async def test_a_container_closes_its_connections(environment: pytest.MonkeyPatch) -> None:
    services = Container(load_settings())
    assert isinstance(await services.clusters.list(), list)
    assert services.refresh_prices is None
    await services.close()
    with pytest.raises(ValueError, match="already been closed"):
        await services.clusters.list()


async def test_prices_are_refreshed_if_that_is_allowed(environment: pytest.MonkeyPatch) -> None:
    async with RetailPricesStandIn().serving() as listed:
        environment.setenv("BERTH_PRICES_REFRESH", "true")
        environment.setenv("BERTH_PRICES_API_URL", listed.url)
        services = Container(load_settings())
        assert services.refresh_prices is not None
        await services.refresh_prices.run()  # the list has one machine of all prices, as the document has it
        book = await services.price_books.current()
        await services.close()
    document = load_prices()
    assert len(listed.asked) == sum(not each.agreed and each.id in document.meters for each in document.book.prices)
    assert book.version == document.book.version
