"""Tokens for AKS while berth's identity does not respond."""

import asyncio
import math
import time
from typing import cast

import pytest
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential

from shared.adapters.kubernetes import tokens as renewal
from shared.adapters.kubernetes.access import entra_tokens
from shared.adapters.kubernetes.tokens import RenewedTokens
from shared.application.breakers import CHECK_TIMEOUT
from shared.errors import Transient
from shared.time_budget import time_budget, time_left


class Hanging:
    """Gives one token, and then no answer."""

    def __init__(self, seconds: int) -> None:
        self._tokens = [AccessToken("held", int(time.time()) + seconds)]
        self.budgets: list[float] = []

    async def get_token(self, *_: str, **__: object) -> AccessToken:
        self.budgets.append(time_left())
        if not self._tokens:
            await asyncio.Event().wait()
        return self._tokens.pop()


def tokens_of_an_identity_that_hangs(*, seconds: int) -> RenewedTokens:
    return entra_tokens(cast("AsyncTokenCredential", Hanging(seconds)))


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert renewal.RENEWAL_TIMEOUT < CHECK_TIMEOUT  # else a cluster counts as dead for the identity's sake
    monkeypatch.setattr(renewal, "RENEWAL_TIMEOUT", 0.01)


async def test_a_valid_token_is_not_held_back_by_its_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "RENEWAL_TIMEOUT", 60)
    tokens = tokens_of_an_identity_that_hangs(seconds=200)
    async with asyncio.timeout(1):
        for _ in range(3):
            assert await tokens.token() == "held"  # though it is to be renewed


async def test_a_renewal_has_not_the_time_budget_of_one_request() -> None:
    identity = Hanging(200)
    with time_budget(0.001):
        await entra_tokens(cast("AsyncTokenCredential", identity)).token()
    assert identity.budgets == [math.inf]


@pytest.mark.parametrize(("seconds", "refused"), [(200, "held"), (-1, "")])
async def test_a_token_that_cannot_be_used_is_transient(seconds: int, refused: str) -> None:
    tokens = tokens_of_an_identity_that_hangs(seconds=seconds)
    await tokens.token()
    with pytest.raises(Transient, match="no token for the cluster: TimeoutError"):
        await tokens.token(refused=refused)
