"""Signups of the sample page: anybody who can open it may sign up, so an hour has a bounded number of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from shared.application.idempotent_start import Caller
from shared.application.ports.clock import Clock
from shared.application.ports.idempotency import IdempotencyRepository
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.signup import Signup, SignupRequest
from shared.application.tenant_history import TenantHistory
from shared.domain.idempotency import Claim
from shared.domain.operations import Operation, OperationId
from shared.domain.tenants import Tenant
from shared.errors import Conflict, NotFound, TooMany
from shared.settings import SampleSettings

SAMPLE = "sample"  # who asked, in the audit trail
MAX_REQUESTS = 50  # in a second, in each worker
ASK_AGAIN_SECONDS = 2.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SampleSignups:
    """Signs up for the sample page, and shows the operation and the tenant.

    A signup takes one of the hour's slots, before anything else is written. A slot is an idempotency key, so that the
    limit holds for all workers together. A worker asks for each slot once in an hour, and remembers who has it.
    """

    def __init__(
        self,
        *,
        signup: Signup,
        history: TenantHistory,
        tenants: TenantRepository,
        keys: IdempotencyRepository,
        clock: Clock,
        settings: SampleSettings,
        key_lifetime: timedelta,
    ) -> None:
        self._signup = signup
        self._history = history
        self._tenants = tenants
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._hour = min(timedelta(hours=1), key_lifetime)
        self._number = 0  # of the hour whose slots are remembered
        self._slots: dict[int, str] = {}
        self._searching = asyncio.Lock()
        self._second = 0
        self._requests = 0

    def ensure_on(self) -> None:
        """Raise NotFound where there is no sample page."""
        if not self._settings.enabled:
            raise NotFound("the sample is off; set BERTH_SAMPLE_ENABLED to switch it on, where nobody is harmed by it")

    def ensure_few_requests(self) -> None:
        """Count one request; raises TooMany if there were too many in this second."""
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._requests = second, 0
        if self._requests >= MAX_REQUESTS:
            raise TooMany("the sample is asked too often", ASK_AGAIN_SECONDS)
        self._requests += 1

    async def sign_up(self, request: SignupRequest, key: str, fingerprint: str, workflows: Workflows) -> Operation:
        """Sign up as `Signup.sign_up` does; raises what that raises, and TooMany if the hour has no slot left.

        Args:
            request: The signup.
            key: The idempotency key. It is no other caller's, even if that one has sent the same.
            fingerprint: That of the request.
            workflows: Where the orchestration is started.
        """
        caller = Caller(SAMPLE, f"{SAMPLE} key {key}", fingerprint)
        try:
            await self._signup.ensure_free(request.slug)
        except Conflict:
            # The same request may have taken the slug. Any other one is refused here, and so leaves no row behind.
            if await self._keys.find(caller.key, now=self._clock.now()) is None:
                raise
        else:
            await self._take_slot(caller.key)
        return await self._signup.sign_up(request, caller, workflows)

    async def operation(self, operation_id: str) -> Operation:
        """Return an operation that a signup of the sample began; raises NotFound for all others."""
        operation = await self._history.operation(operation_id)
        if operation.actor != SAMPLE:
            raise NotFound(f"there is no operation {operation_id}")
        return operation

    async def tenant(self, operation_id: str) -> Tenant:
        """Return the tenant that an operation of the sample has made; raises NotFound once another one changed it."""
        operation = await self.operation(operation_id)
        tenant = (await self._tenants.get(operation.slug)).value
        if tenant.operation.id != operation.id:
            raise NotFound(f"there is no tenant of the operation {operation_id} any more")
        return tenant

    async def _take_slot(self, key: str) -> None:
        """Take a slot of this hour unless the key has one already; raises TooMany."""
        mine = sha256(key.encode()).hexdigest()
        async with self._searching:  # so that those who come together ask once for each slot
            now, limit = self._clock.now(), self._settings.signups_per_hour
            number, age = divmod(now - _EPOCH, self._hour)
            if number != self._number:
                self._number, self._slots = number, {}
            # Each time the key begins to search at the same slot, and so finds its own before a free one.
            first = int(mine, 16) % limit
            for slot in (*range(first, limit), *range(first)):
                if slot not in self._slots:
                    claim = Claim(f"{SAMPLE} slot {number} {slot}", mine, OperationId(mine))
                    self._slots[slot] = (await self._keys.claim(claim, now=now)).fingerprint
                if self._slots[slot] == mine:
                    return
            raise TooMany(f"the sample has had its {limit} signups of this hour", (self._hour - age).total_seconds())
