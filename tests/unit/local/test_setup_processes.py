import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.setup.cache import Slot

PROJECT = Path(__file__).resolve().parents[3]

# Makes a part with a tool that reads a pipe to its end and then writes the product.
SET_UP = """
import signal, sys
from pathlib import Path
from local.setup.cache import Slot
from local.setup.parts import Part
from local.setup.progress import make_all

def build(job, directory):
    job.run(["sh", "-c", "cat pipe && touch product"], directory=directory)

signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    sys.exit(0 if make_all([Part("part", Slot(Path(sys.argv[1]), "product"), build, ())]) else 1)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    slot = Slot(tmp_path / "part/1", "product")
    slot.path.mkdir(parents=True)
    os.mkfifo(slot.path / "pipe")
    return slot


@contextmanager
def another_set_up(slot: Slot) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Run one in another process until its tool runs; gives the process and the pipe, whose closing ends the tool."""
    with subprocess.Popen([sys.executable, "-c", SET_UP, slot.path], cwd=PROJECT, stderr=subprocess.DEVNULL) as process:
        pipe = os.open(slot.path / "pipe", os.O_WRONLY)  # waits for the tool to open its end
        try:
            yield process, pipe
        finally:
            process.kill()


def test_two_set_ups_wait_for_each_other(slot: Slot):
    with another_set_up(slot) as (process, pipe):
        waits = 0

        def wait() -> None:
            nonlocal waits
            waits += 1
            os.close(pipe)
            assert process.wait(10) == 0

        with slot.locked(wait):
            assert slot.is_complete
        assert waits == 1


def test_a_tool_of_a_killed_set_up_still_holds_the_lock(slot: Slot):
    with another_set_up(slot) as (process, pipe):
        process.kill()
        process.wait(10)
        waits = 0

        def wait() -> None:
            nonlocal waits
            if not waits:
                os.close(pipe)
            waits += 1

        with slot.locked(wait):
            assert waits
            assert (slot.path / "product").exists()
            assert not slot.is_complete


def test_an_interrupted_set_up_stops_its_tools(slot: Slot):
    with another_set_up(slot) as (process, pipe):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
        with pytest.raises(BrokenPipeError):
            os.write(pipe, b"the tool is gone")
        os.close(pipe)
        assert not slot.is_complete
    with another_set_up(slot) as (process, pipe):
        os.close(pipe)
        assert process.wait(10) == 0
    assert slot.is_complete
