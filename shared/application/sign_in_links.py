"""Links with which an operator signs in to the ops pages: each works once, and for a few minutes."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe

from shared.application.ports.clock import Clock
from shared.application.ports.idempotency import IdempotencyRepository
from shared.domain.idempotency import Claim
from shared.domain.operations import OperationId
from shared.domain.signatures import read_signed, sign
from shared.errors import Conflict
from shared.events import log_event
from shared.settings import OpsSettings, SignIn

logger = logging.getLogger(__name__)

MINUTES = 5
_PURPOSE = "sign-in link"


@dataclass(frozen=True, slots=True)
class SignInLink:
    """What a link has behind its `#`, and when it ends."""

    token: str
    expires_at: datetime


class SignInLinks:
    """Makes links, and lets each be used once.

    A link that was used is an idempotency key, which all workers know for longer than a link lasts. The log has what
    happens to each link, by an id from which nobody can make it.
    """

    def __init__(
        self, *, keys: IdempotencyRepository, clock: Clock, settings: OpsSettings, key_lifetime: timedelta
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._lifetime = min(timedelta(minutes=MINUTES), key_lifetime)

    def make(self, actor: str) -> SignInLink:
        """Return a new link for whoever asks; raises Conflict where nobody signs in by a link."""
        if self._settings.sign_in is not SignIn.KEY:
            raise Conflict(
                f"nobody signs in by a link here, because BERTH_OPS_SIGN_IN is {self._settings.sign_in}; "
                "set it to `key`, with BERTH_OPS_KEY"
            )
        expires_at = self._clock.now() + self._lifetime
        name = token_urlsafe(24)
        log_event(logger, "sign-in link made", link=_id(name), actor=actor)
        return SignInLink(sign(self._settings.key.get_secret_value(), _PURPOSE, name, expires_at), expires_at)

    async def use(self, token: str) -> bool:
        """Return whether a link may be used; from then on it may not. Raises Transient."""
        now = self._clock.now()
        name = read_signed(self._settings.key.get_secret_value(), _PURPOSE, token, now=now)
        if name is None:
            log_event(
                logger, "sign-in link refused", level=logging.WARNING, cause="it is too old, or none of this berth"
            )
            return False
        mine = Claim(f"sign-in link {name}", "", OperationId(token_urlsafe(12)))
        if await self._keys.claim(mine, now=now) != mine:
            log_event(logger, "sign-in link refused", level=logging.WARNING, link=_id(name), cause="it was used before")
            return False
        log_event(logger, "sign-in link used", link=_id(name))
        return True


def _id(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:12]
