"""The cache: a directory for every part and every hash of what it is made from, shared by all clones of a user."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where the parts are kept: $XDG_CACHE_HOME/berth, or ~/.cache/berth when that is unset or relative."""
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "berth"


def cache_key(*made_from: bytes | str) -> str:
    """Return the name for something made from these contents on this kind of machine (system and processor)."""
    digest = hashlib.sha256()
    for content in (sys.platform, os.uname().machine, *made_from):
        encoded = content.encode() if isinstance(content, str) else content
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Slot:
    """A directory of the cache, filled in place (a virtual environment cannot be moved) and completed by a marker.

    `product` is the file in it that must be there; a link goes missing when its target is uninstalled.
    """

    path: Path
    product: str

    @property
    def is_complete(self) -> bool:
        """Whether it was filled to the end and can still be used."""
        return (self.path / ".complete").exists() and (self.path / self.product).exists()

    def complete(self) -> None:
        """Mark it as filled, and remove what interrupted set-ups left of other versions of the same part."""
        (self.path / ".complete").touch()
        for path in self.path.parent.iterdir():
            if path.is_dir() and not Slot(path, self.product).is_complete:
                with _lock_file(path) as lock:
                    if _try_lock(lock):
                        shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def locked(self, wait: Callable[[], None]) -> Generator[int]:
        """Make the directory and hold it against other processes; call `wait` (a pause, or an error) until it is free.

        Yields the lock's file descriptor. A child that inherits it holds the lock too: no second set-up joins a tool
        that outlives a killed one.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with _lock_file(self.path) as lock:
            while not _try_lock(lock):
                wait()
            try:
                self.path.mkdir(exist_ok=True)  # the holder before may have swept it
                yield lock
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)


@contextmanager
def _lock_file(path: Path) -> Generator[int]:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
