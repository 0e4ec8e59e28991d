"""Bearer tokens that end: renewed ahead of their end and when the API server refuses them."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError

from shared.errors import Unauthenticated

RENEWAL_TIMEOUT = 4.0  # seconds; the managed identity endpoint responds within one, or is away for a minute. Less than
# the check of a cluster may take, which must not call a cluster dead for the identity's sake


class RenewedTokens:
    """Implements `shared.adapters.kubernetes.client.TokenSource`; concurrent requests share one renewal.

    Args:
        request: Returns a token and the time at which it ends.
        renew_ahead: Seconds before that time from which on another one is requested.
    """

    def __init__(self, request: Callable[[], Coroutine[Any, Any, AccessToken]], *, renew_ahead: float) -> None:
        self._request = request
        self._renew_ahead = renew_ahead
        self._held: AccessToken | None = None
        self._renewal: asyncio.Task[AccessToken] | None = None

    async def token(self, *, refused: str = "") -> str:
        """Return a valid token, and not the one that the API server has just refused.

        One that ends soon is returned at once too, and another one is requested meanwhile. Who issues them may keep
        tokens: if it knows no other, it is the refused one again.

        Raises:
            Unauthenticated: No token can be had now, whatever type azure-identity raises: DefaultAzureCredential raises
                ClientAuthenticationError for a refusal as for a connection that broke, and CredentialUnavailableError
                may be a managed identity endpoint that did not respond or does not know a new identity yet.
        """
        held = self._held
        left = held.expires_on - time.time() if held else 0.0
        if held is None or held.token == refused or left <= 0:
            held = await self._renewed()
        elif left < self._renew_ahead:
            self._begin_renewal()
        return held.token

    def _begin_renewal(self) -> asyncio.Task[AccessToken]:
        """Return the renewal that is under way, or a new one."""
        if self._renewal is None or self._renewal.done():
            # In a context of its own: neither the time budget nor the log lines of who came first are those of others.
            self._renewal = asyncio.create_task(self._renew(), name="renew the token for a cluster", context=Context())
            self._renewal.add_done_callback(_take_exception)
        return self._renewal

    async def _renewed(self) -> AccessToken:
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT):
                return await asyncio.shield(self._begin_renewal())  # other requests wait for it too
        except (AzureError, TimeoutError) as error:
            # Only its type: azure-identity puts into the text whatever the response said.
            raise Unauthenticated(f"no token for the cluster: {type(error).__name__}") from error

    async def _renew(self) -> AccessToken:
        self._held = await self._request()
        return self._held


def _take_exception(renewal: asyncio.Task[AccessToken]) -> None:
    """Retrieve a renewal's error, so that asyncio does not report it when nobody waits any more."""
    if not renewal.cancelled():
        renewal.exception()
