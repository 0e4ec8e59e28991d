"""Ends a stack's processes and removes its directory when the process that started them has ended for any reason.

It runs in a session of its own and reads a pipe whose other end the stack holds: the pipe closes even after kill -9.
It uses only the standard library, so that it starts fast and needs little memory.
"""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path


def start_time(pid: int) -> str:
    """Return when a process started, in clock ticks since boot, or an empty string if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def end(pids: dict[int, str]) -> None:
    """Kill the process groups led by these processes, unless another process has the id by now."""
    for pid, started in reversed(pids.items()):
        if start_time(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Read lines `PID START-TIME` until the pipe closes; then end these processes and remove the directory."""
    directory = sys.argv[1]
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    pids: dict[int, str] = {}
    for line in sys.stdin:
        pid, _, started = line.strip().partition(" ")
        pids[int(pid)] = started
    end(pids)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
