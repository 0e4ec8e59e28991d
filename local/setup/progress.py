"""Makes parts side by side and shows how far each is: live lines on a terminal, else a plain line now and then."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TextIO

from local.setup.jobs import Job, SetupError, Stopped
from local.setup.parts import Part

_REFRESH = 0.1  # seconds
_PLAIN_INTERVAL = 15.0  # seconds between two plain lines of one job in the same phase


class Display:
    """The lines of all jobs, on a stream."""

    def __init__(self, jobs: Sequence[Job], stream: TextIO) -> None:
        self._jobs, self._stream = jobs, stream
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0
        self._said: dict[Job, tuple[str, float]] = dict.fromkeys(jobs, ("starting", time.monotonic()))

    def refresh(self, lasting: str = "") -> None:
        """Show where the jobs stand, and above it a text that stays."""
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
        self._stream.write(lasting)
        if self._live:
            columns = shutil.get_terminal_size().columns - 1
            self._stream.writelines(f"{str(job)[:columns]}\n" for job in self._jobs)
            self._drawn = len(self._jobs)
        else:
            for job in self._jobs:
                phase, at = self._said[job]
                now = time.monotonic()
                if job.phase != phase or (job.seconds is None and now - at >= _PLAIN_INTERVAL):
                    self._said[job] = (job.phase, now)
                    self._stream.write(f"berth: {job}\n")
        self._stream.flush()


def failure_report(part: Part, error: SetupError) -> str:
    """Return what to tell a person about a part that could not be made."""
    ways = "".join(f"\n    - {way}" for way in part.ways_round)
    return f"\nberth: {part.title}: {error}\n  Ways round it:{ways}\n\n"


def make_all(parts: Sequence[Part], stream: TextIO = sys.stderr) -> bool:
    """Make the parts side by side. A failure is reported at once, while the others go on.

    Returns:
        Whether all are there now.

    Raises:
        KeyboardInterrupt: Ctrl-C came; all tools are stopped, and a later call goes on from there.
    """
    jobs = [Job(part.title) for part in parts]
    display = Display(jobs, stream)
    reports = SimpleQueue[str]()

    def work(part: Part, job: Job) -> None:
        try:
            part.make(job)
        except SetupError as error:
            job.end("failed")
            reports.put(failure_report(part, error))
        except Stopped:
            job.end("stopped")

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in zip(parts, jobs, strict=True)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) or not reports.empty():
            display.refresh("" if reports.empty() else reports.get())
            time.sleep(_REFRESH)
        display.refresh()
    except KeyboardInterrupt:
        for how in (signal.SIGINT, signal.SIGKILL):
            for job in jobs:
                job.stop(how)
            deadline = time.monotonic() + 5
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        raise
    return all(part.slot.is_complete for part in parts)
