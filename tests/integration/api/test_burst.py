"""A burst of signups beyond what may wait. `./berth bench burst` runs it with a thousand and more."""

from local.kubernetes.control_plane import Options
from local.stack import Stack
from tests.bench.burst import MEGABYTE, burst

SETTINGS = {
    "BERTH_PROVISIONING_MAX_CONCURRENT": "4",
    "BERTH_PROVISIONING_MAX_QUEUED": "12",
    "BERTH_PROVISIONING_RETRY_AFTER": "3",
}
SIGNUPS = 36


async def test_a_burst_breaks_nothing_and_those_who_come_back_succeed() -> None:
    async with Stack(SETTINGS, options=Options(ready_seconds=0.0)) as stack:
        result = await burst(stack, SIGNUPS)
    assert not result.failed
    assert not result.violations
    refused = [each for each in result.signups if each.refusals]
    assert len(refused) >= SIGNUPS - 4 - 12 - 8  # but for those who came when the first had ended
    assert result.memory < 400 * MEGABYTE
