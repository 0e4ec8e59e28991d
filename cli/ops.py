"""The command `ops`: a link that signs an operator in to the ops pages, once."""

from cli.api import Api
from cli.running import connect


async def run() -> int:
    """Print a new link."""
    async with connect(operator=True) as api:
        print(await new_link(api))
    return 0


async def new_link(api: Api) -> str:
    """Return a new link to the ops pages of a berth."""
    made = await api.call("POST", "ops/links")
    return f"{api.url}{made['path']}"
