"""A burst of signups that is larger than the queue. `./berth bench burst` sends a thousand and more."""

from local.kubernetes.control_plane import Options
from local.stack import Stack
from tests.bench.burst import MEGABYTE, burst

SETTINGS = {
    "BERTH_PROVISIONING_MAX_CONCURRENT": "4",
    "BERTH_PROVISIONING_MAX_QUEUED": "12",
    "BERTH_PROVISIONING_RETRY_AFTER": "3",
}
SIGNUPS = 36


async def test_every_signup_of_a_burst_succeeds_after_its_retries() -> None:
    async with Stack(SETTINGS, options=Options(ready_seconds=0.0)) as stack:
        result = await burst(stack, SIGNUPS)
    assert not result.failed
    assert not result.violations
    assert result.accepted.starting <= 4
    assert 4 < result.accepted.together <= 4 + 12
    assert 13 <= result.tables / SIGNUPS < 100
    assert 12 <= result.kubernetes / SIGNUPS < 20  # each object is applied; a watch may serve several tenants
    rejected = [each for each in result.signups if each.rejections]
    assert len(rejected) >= SIGNUPS - 4 - 12 - 8  # a few came after the first had ended
    assert result.memory < 400 * MEGABYTE
