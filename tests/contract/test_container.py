"""The container on real table storage."""

from secrets import token_hex

import pytest

from functions.container import Container
from local.table_server import Azurite, connection_string
from shared.settings import load_settings


async def test_a_container_closes_its_connections(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "BERTH_TABLES_CONNECTION": connection_string(azurite.endpoint),
        "BERTH_TENANTS_OWNER": "tests",
        "BERTH_TENANTS_IMAGE": "registry.example.com/product",
        "BERTH_TENANTS_DEFAULT_VERSION": "1.0",
        "BERTH_TENANTS_SECRET_SEED": token_hex(16),
        "BERTH_RECOVERY_SCHEDULE": "0 * * * * *",
        "BERTH_SWEEP_SCHEDULE": "0 30 2 * * *",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    services = Container(load_settings())
    assert isinstance(await services.clusters.list(), list)
    await services.close()
    with pytest.raises(ValueError, match="already been closed"):
        await services.clusters.list()
