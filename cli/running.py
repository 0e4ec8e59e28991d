"""Finds the stack that `./berth up` runs in another terminal."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.api import Api
from local.janitor import start_time
from local.stack import ROOT, Stack


class NoStackError(Exception):
    """No stack is running for this clone."""


class TargetError(Exception):
    """What a command is to read cannot be told or read: another berth, the telemetry of a stack, or a file."""


@dataclass(frozen=True, slots=True)
class Running:
    """How to reach a running stack. Only the user who started it may read the keys.

    `clock` is the file of its clock, if that can be moved. `telemetry` is where its telemetry is.
    """

    url: str
    function_key: str
    master_key: str
    kubectl: list[str]
    directory: str
    parts: dict[str, int]
    workers: int
    clock: str
    telemetry: str
    pid: int
    started: str


def announce(stack: Stack) -> None:
    """Write how to reach a stack of this process into its directory, so that other commands find it."""
    running = Running(
        url=stack.api_url,
        function_key=stack.function_key,
        master_key=stack.master_key,
        kubectl=stack.kubectl,
        directory=str(stack.processes.directory),
        parts=stack.processes.pids(),
        workers=stack.workers,
        clock=str(stack.clock.file) if stack.has_clock else "",
        telemetry=stack.telemetry.url if stack.has_telemetry else "",
        pid=os.getpid(),
        started=start_time(os.getpid()),
    )
    path = stack.processes.directory / "stack.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(running)))
    link = _link()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(path)


def withdraw() -> None:
    """Undo `announce`."""
    _link().unlink(missing_ok=True)


def running() -> Running:
    """Return the stack that runs for this clone; raises NoStackError."""
    try:
        stack = Running(**json.loads(_link().read_text()))
    except FileNotFoundError:
        raise NoStackError("no stack is running for this clone; start one with ./berth up") from None
    if start_time(stack.pid) != stack.started:
        raise NoStackError("the stack of this clone has ended; start a new one with ./berth up")
    return stack


def connect(*, operator: bool = False) -> Api:
    """Return a client of the berth that BERTH_URL and BERTH_KEY name, or of the running stack.

    Args:
        operator: Use the stack's master key rather than its function key.

    Raises:
        TargetError: Only one of the two is set, or BERTH_URL is not an http address.
        NoStackError: Neither is set, and no stack is running.
    """
    url, key = os.environ.get("BERTH_URL", ""), os.environ.get("BERTH_KEY", "")
    if bool(url) != bool(key):
        given, missing = ("BERTH_URL", "BERTH_KEY") if url else ("BERTH_KEY", "BERTH_URL")
        raise TargetError(
            f"{given} is set and {missing} is not; set both to use another berth, or neither to use the running stack"
        )
    if url:
        if not url.lower().startswith(("http://", "https://")):
            raise TargetError(f"BERTH_URL is {url}; it has to begin with http:// or https://")
        return Api(url.rstrip("/").removesuffix("/api"), key)
    stack = running()
    return Api(stack.url, stack.master_key if operator else stack.function_key)


def _link() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "berth"
    return cache / "stacks" / hashlib.sha256(str(ROOT).encode()).hexdigest()[:16]
