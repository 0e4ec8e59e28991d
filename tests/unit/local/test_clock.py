"""The clock that can be moved, and the command for it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.__main__ import main
from cli.clock import shown
from local.clock import ClockError, MovableClock, new_clock

LOOP = "import time\nwhile input():\n    print(time.time(), time.monotonic(), flush=True)"
WAITS = """
import os, threading, time
def work():
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        sum(range(1000))
threads = [threading.Thread(target=work) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
print(os.times().system)
"""


@dataclass
class Follower:
    process: subprocess.Popen[str]

    def times(self) -> tuple[float, float]:
        """What the process says that the time of day is, and its monotonic clock."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        of_day, monotonic = self.process.stdout.readline().split()
        return float(of_day), float(monotonic)


@pytest.fixture
def clock(tmp_path: Path) -> MovableClock:
    return new_clock(tmp_path / "clock")


@pytest.fixture
def follower(clock: MovableClock) -> Iterator[Follower]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", LOOP], env=dict(clock.environment), stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield Follower(process)
        process.kill()


def test_a_process_sees_a_move_at_once(clock: MovableClock, follower: Follower) -> None:
    for ahead in (timedelta(), timedelta(days=8), timedelta(days=8, seconds=0.5), timedelta(hours=-1)):
        clock.step(ahead)
        of_day, monotonic = follower.times()
        assert abs(of_day - time.time() - ahead.total_seconds()) < 0.3
        assert abs(monotonic - time.monotonic()) < 0.3
    assert clock.is_followed_by(follower.process.pid)


def test_waiting_threads_do_not_spin(clock: MovableClock) -> None:
    clock.move(timedelta(days=8))
    command = [sys.executable, "-c", WAITS]
    used = subprocess.run(command, env=dict(clock.environment), capture_output=True, text=True, check=True).stdout
    assert float(used) < 0.2  # seconds in the kernel; half a second if each wait were over at once


def test_it_moves_to_a_time_and_never_back(clock: MovableClock) -> None:
    to = datetime.now(UTC) + timedelta(days=8)
    clock.move(to)
    assert timedelta() <= clock.now() - to < timedelta(seconds=1)
    for back in (datetime.now(UTC), timedelta(seconds=-1)):
        with pytest.raises(ClockError, match="the clock only moves forward"):
            clock.move(back)
    assert timedelta() <= clock.now() - to < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-1h"], "the clock only moves forward"),
        (["2026-01-01T00:00:00Z"], "the clock only moves forward"),
        (["8d"], "8d is neither a span such as"),
        (["+"], r"\+ is neither"),
        (["2027-01-04T02:29:50"], "is neither"),  # in which time zone?
    ],
)
def test_what_cannot_be_done_is_explained(
    clock: MovableClock, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.setattr("cli.clock.running", lambda: Stand(str(clock.file)))
    with pytest.raises(ClockError, match=sentence):
        main(["clock", *arguments])
    assert clock.ahead == timedelta()


def test_the_command_moves_and_shows_it(
    clock: MovableClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.clock.running", lambda: Stand(str(clock.file)))
    for move, shown_as in (("+8d", "8 d ahead"), ("+36h", "9 d 12 h ahead"), ("+1h30m", "9 d 13 h 30 min ahead")):
        assert main(["clock", move]) == 0
        assert shown_as in capsys.readouterr().out
    to = clock.now() + timedelta(days=30)
    assert main(["clock", f"{to:%Y-%m-%dT%H:%M:%SZ}"]) == 0
    assert f"{to:%Y-%m-%d %H:%M:%S} UTC" in capsys.readouterr().out


def test_a_stack_without_such_a_clock_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.clock.running", lambda: Stand(""))
    assert main(["clock"]) == 0
    assert "not moved" in capsys.readouterr().out
    with pytest.raises(ClockError, match=r"start one with \./berth up --clock"):
        main(["clock", "+8d"])


def test_a_time_is_shown_with_how_far_it_was_moved() -> None:
    now = datetime(2027, 1, 4, 2, 30, tzinfo=UTC)
    assert shown(now, timedelta(days=8, seconds=61)) == "2027-01-04 02:30:00 UTC, 8 d 1 min 1 s ahead of this machine"
    assert shown(now, timedelta()) == "2027-01-04 02:30:00 UTC, not moved"


@dataclass(frozen=True)
class Stand:
    """In place of a running stack."""

    clock: str
