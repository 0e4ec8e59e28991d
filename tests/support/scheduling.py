"""What each process of `./berth test` runs, and what comes first."""

from pathlib import Path, PurePosixPath

from xdist.scheduler.loadscope import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
# What takes longest comes first, so that all processes end at about the same time. Only some of it starts a stack at
# once.
LONGEST = (
    "integration/kubernetes",
    "integration/api",
    "unit/application/test_instance_repair.py",
    "integration/stacks/test_fuzz.py",
    "integration/pages",
    "faults/test_matrix.py",
    "contract",
    "integration/prometheus/test_gateway_activity.py",
    "unit/application/test_pairs.py",
    "faults/test_killed_parts.py",
    "integration/telemetry/test_secrets.py",
    "integration/telemetry/test_life.py",
    "integration/stacks",
    "integration/deploy",
    "faults/test_two_workers.py",
    "integration/local/test_demo.py",
    "integration/local/test_clock.py",
)
SHARING = {
    "contract",
    "integration/api",
    "integration/deploy",
    "integration/kubernetes",
    "integration/pages",
}  # the tests of each share what starts slowly


class Scheduling(LoadScopeScheduling):
    """Has all tests of a file run by one process, or those of a directory that share something."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0]).relative_to(TESTS.name)
        return str(path.parent if str(path.parent) in SHARING else path)
