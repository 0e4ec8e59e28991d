"""The secrets of instances, each derived from one of the seeds that there have been."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from shared.domain.instances import InstanceId
from shared.errors import Transient

_ID_LETTERS = 12


class SecretSeeds:
    """Derives secrets. An instance keeps the seed of its first one, whose id is recorded, however seeds are rotated.

    Args:
        present: The seed of new instances.
        former: Those before it, newest first.
    """

    def __init__(self, present: str, former: Sequence[str] = ()) -> None:
        self._seeds = {_id(seed): seed.encode() for seed in (present, *former)}
        self.present_id = _id(present)
        self.oldest_id = _id(former[-1]) if former else self.present_id
        """The seed of an instance without a recorded one, which is older than the record."""

    def secret(self, instance: InstanceId, seed_id: str) -> str:
        """Return a secret that is an instance's alone, and the same each time.

        Raises:
            Transient: Its seed is not set here: not any more, or not yet, in a worker that started before a rotation.
        """
        seed = self._seeds.get(seed_id or self.oldest_id)
        if seed is None:
            raise Transient("the seed of this tenant's secret is not set: add it to BERTH_TENANTS_FORMER_SECRET_SEEDS")
        return hmac.new(seed, instance.encode(), sha256).hexdigest()


def _id(seed: str) -> str:
    """Return the id of a seed, from which nobody finds the seed."""
    return sha256(b"id of a secret seed: " + seed.encode()).hexdigest()[:_ID_LETTERS]
