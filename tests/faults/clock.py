"""A clock of one running process that a test can step, by means of libfaketime."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path


class SteppedClock:
    """The time of day of a process that was started with `environment`; its monotonic clock stays correct.

    Args:
        file: Holds the offset; the process reads it every second.
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
        """Set the clock ahead of the correct time, or behind it with a negative number."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+}")
        new.rename(self._file)
