"""Single HTTP requests to the API, each response checked against the API's description."""

import httpx

from cli.api import Json
from tests.support.described_api import is_as_described
from tests.support.stack import ProxiedStack


async def send(berth: ProxiedStack, method: str, path: str, *, key: str = "", **arguments: object) -> httpx.Response:
    """Send a request and return the response with any status; the key is the function key unless one is given."""
    headers = {"x-functions-key": key or berth.stack.function_key}
    url, hooks = f"{berth.stack.api_url}/api/", {"response": [is_as_described]}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, event_hooks=hooks) as http:
        given = arguments.pop("headers", {})
        assert isinstance(given, dict)
        return await http.request(method, path, headers=headers | given, **arguments)  # pyright: ignore[reportArgumentType]


async def post(berth: ProxiedStack, path: str, body: Json | None = None, *, key: str = "") -> httpx.Response:
    """Send a POST request, with an idempotency key if one is given."""
    return await send(berth, "POST", path, json=body, headers={"Idempotency-Key": key} if key else {})
