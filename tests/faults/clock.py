"""A clock that can be stepped under one running process, by libfaketime between it and the C library."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path


class SteppedClock:
    """What a process started with `environment` takes for the time of day; its monotonic clock stays true.

    Args:
        file: Where the present step is kept; the process reads it again after a second.
    """

    def __init__(self, file: Path) -> None:
        package = importlib.util.find_spec("libfaketime")
        assert package is not None
        assert package.origin is not None
        self._library = Path(package.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
        self._file = file
        self.step(0)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def step(self, seconds: int) -> None:
        """Set the clock that far ahead of the true time, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+}")
        new.rename(self._file)
