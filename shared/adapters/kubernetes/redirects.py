"""No redirect is followed: it could lead berth's requests to another server, on which nothing is known."""

from types import SimpleNamespace

import aiohttp

from shared.errors import Transient


def refuse_redirects() -> aiohttp.TraceConfig:
    """Return what makes a session raise Transient for a redirect; an API server sends none, but a proxy may."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse)
    return trace


async def _refuse(_: aiohttp.ClientSession, __: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    response = redirect.response
    response.close()
    raise Transient(f"the API server responded {response.status}: berth follows no redirect")
