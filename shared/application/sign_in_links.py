"""Links with which an operator signs in to the ops pages: each works once, and for a few minutes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_urlsafe

from shared.application.ports.clock import Clock
from shared.application.ports.idempotency import IdempotencyRepository
from shared.domain.idempotency import Claim
from shared.domain.operations import OperationId
from shared.domain.signatures import read_signed, sign
from shared.errors import Conflict
from shared.settings import OpsSettings, SignIn

MINUTES = 5
_PURPOSE = "sign-in link"


@dataclass(frozen=True, slots=True)
class SignInLink:
    """What a link has behind its `#`, and when it ends."""

    token: str
    expires_at: datetime


class SignInLinks:
    """Makes links, and lets each be used once.

    A link that was used is an idempotency key, which all workers know for longer than a link lasts.
    """

    def __init__(
        self, *, keys: IdempotencyRepository, clock: Clock, settings: OpsSettings, key_lifetime: timedelta
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._lifetime = min(timedelta(minutes=MINUTES), key_lifetime)

    def make(self) -> SignInLink:
        """Return a new link; raises Conflict where nobody signs in by a link."""
        if self._settings.sign_in is not SignIn.KEY:
            raise Conflict(
                f"nobody signs in by a link here, because BERTH_OPS_SIGN_IN is {self._settings.sign_in}; "
                "set it to `key`, with BERTH_OPS_KEY"
            )
        expires_at = self._clock.now() + self._lifetime
        return SignInLink(
            sign(self._settings.key.get_secret_value(), _PURPOSE, token_urlsafe(24), expires_at), expires_at
        )

    async def use(self, token: str) -> bool:
        """Return whether a link may be used; from then on it may not. Raises Transient."""
        now = self._clock.now()
        name = read_signed(self._settings.key.get_secret_value(), _PURPOSE, token, now=now)
        if name is None:
            return False
        mine = Claim(f"sign-in link {name}", "", OperationId(token_urlsafe(12)))
        return await self._keys.claim(mine, now=now) == mine
