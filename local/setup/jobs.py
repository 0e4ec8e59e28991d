"""One part being made: it runs its tools one after the other, knows how far it is, and can be stopped at any time."""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

type Command = Sequence[str | Path]


class SetupError(Exception):
    """A part could not be made. The message is for a person: what failed, and what the tool said."""


class Stopped(Exception):
    """The job was told to stop."""


class Job:
    """What one part is doing; its thread writes, the display reads.

    `phase` says it in words, `percent` how much of the phase is done (None: unknown), `seconds` how long the whole took
    (None while it runs). `lock` is a file descriptor that the tools inherit.
    """

    def __init__(self, title: str) -> None:
        self.title, self.phase = title, "starting"
        self.lock: int | None = None
        self.percent: int | None = None
        self.seconds: float | None = None
        self._started = time.monotonic()
        self._child: subprocess.Popen[str] | None = None
        self._guard, self._stopping = threading.Lock(), threading.Event()

    def __str__(self) -> str:
        percent = "" if self.percent is None else f" {self.percent} %"
        seconds = time.monotonic() - self._started if self.seconds is None else self.seconds
        return f"{self.title:<20} {self.phase}{percent} ({seconds:.0f} s)"

    def begin(self, phase: str) -> None:
        """Say what is done next."""
        self.phase, self.percent = phase, None

    def advance(self, done: int, total: int) -> None:
        """Say how much of the phase is done, up to 99 %: what is at 100 is over."""
        self.percent = min(99, 100 * done // max(total, 1))

    def end(self, phase: str) -> None:
        """Say how it ended."""
        self.begin(phase)
        self.seconds = time.monotonic() - self._started

    def wait(self) -> None:
        """Pause for the other process that is making the same. Raises Stopped when told to."""
        self.begin("waiting for another set-up that is making it")
        if self._stopping.wait(0.2):
            raise Stopped

    def run(
        self,
        command: Command,
        progress: Callable[[str], bool] = lambda line: False,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a tool to its end.

        Args:
            command: The program and its arguments.
            progress: Gets every line of output; says whether it was mere progress, which no failure message repeats.
            directory: Where it runs, or None for here.
            environment: Variables that it gets on top of ours.

        Raises:
            SetupError: It failed; the message has the end of its output.
            OSError: It could not be started.
            Stopped: `stop` was called.
        """
        with self._guard:
            if self._stopping.is_set():
                raise Stopped
            child = self._child = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=() if self.lock is None else (self.lock,),
                start_new_session=True,  # the terminal's Ctrl-C reaches us alone; `stop` passes it on
            )
        tail = deque[str](maxlen=12)
        with child:
            for line in child.stdout or ():
                if not progress(line.rstrip()) and line.strip():
                    tail.append(line.rstrip())
        if self._stopping.is_set():
            raise Stopped
        if child.returncode:
            raise SetupError(failure_message(self.phase, child.returncode, tail))

    def stop(self, how: signal.Signals) -> None:
        """Send the running tool and its children a signal, and start no further one."""
        self._stopping.set()
        with self._guard, suppress(ProcessLookupError):
            if self._child and self._child.returncode is None:
                os.killpg(self._child.pid, how)


def failure_message(doing: str, status: int, tail: Sequence[str]) -> str:
    """Return what to tell about a tool that ended with `status` (negative: the signal that killed it)."""
    how = f"exit status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"
    said = "".join(f"\n    | {line[:300]}" for line in tail or ["(it said nothing)"])
    return f"{doing} failed ({how}){said}"
