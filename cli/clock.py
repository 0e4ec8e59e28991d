"""`./berth clock`: shows the clock of the running stack, and moves it."""

import argparse
import contextlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.output import console
from cli.running import Running, running
from local.clock import ClockError, MovableClock

_BY = re.compile(r"\+(?=\d)(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,5})s)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "to",
        nargs="?",
        metavar="MOVE",
        help="move it forward by so much, such as +8d, +36h or +1h30m, or to a time, such as 2027-01-04T02:30:00Z",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Move the clock if that was asked, show it, and return the exit code."""
    target = running()
    if options.to:
        if not target.clock:
            raise ClockError("the clock of this stack cannot be moved; start one with ./berth up --clock")
        MovableClock(Path(target.clock)).move(_move(options.to))
    now, ahead = clock_of(target)
    if options.json:
        print(json.dumps({"now": f"{now:%Y-%m-%dT%H:%M:%SZ}", "ahead_seconds": round(ahead.total_seconds())}))
    else:
        console().print(shown(now, ahead))
    return 0


def clock_of(target: Running) -> tuple[datetime, timedelta]:
    """Return the time of a running stack, and by how much that is ahead of this machine's."""
    if not target.clock:
        return datetime.now(UTC), timedelta()
    clock = MovableClock(Path(target.clock))
    return clock.now(), clock.ahead


def shown(now: datetime, ahead: timedelta) -> str:
    """Return a time, and how far it was moved, in words."""
    seconds = round(ahead.total_seconds())
    if not seconds:
        return f"{now:%Y-%m-%d %H:%M:%S} UTC, not moved"
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    counts = {"d": days, "h": hours, "min": minutes, "s": seconds}
    parts = " ".join(f"{count} {unit}" for unit, count in counts.items() if count)
    return f"{now:%Y-%m-%d %H:%M:%S} UTC, {parts} ahead of this machine"


def _move(text: str) -> datetime | timedelta:
    """Return what a person wrote; raises ClockError for what it cannot be."""
    by = _BY.fullmatch(text)
    if by:
        days, hours, minutes, seconds = (int(part or 0) for part in by.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if re.match(r"-\d", text):
        raise ClockError("the clock only moves forward: what the stack has recorded would lie in the future")
    with contextlib.suppress(ValueError):
        to = datetime.fromisoformat(text)
        if to.tzinfo is not None:
            return to
    raise ClockError(f"{text} is neither a span such as +8d, +36h or +1h30m, nor a time such as 2027-01-04T02:30:00Z")
