"""What an operator applies to each cluster: the files of infra/kubernetes, filled in."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

INFRA = Path(__file__).parents[2] / "infra/kubernetes"
ROLE = INFRA / "cluster-role.yaml"
PRIORITIES = INFRA / "priority-classes.yaml"
WAITING_ROOM_FILES = INFRA / "waiting-room"
# What the files name in capitals. Each says at its top what is meant.
_PLACEHOLDER = re.compile(r"\b(OBJECT-ID|OWNER|DOMAIN|RESOURCE-GROUP|ADDRESS|CERTIFICATE-URI|CLIENT-ID)\b")


def filled_in(name: str, values: Mapping[str, str]) -> str:
    """Return a file without its comments, and with a value for each of its placeholders; raises KeyError without one.

    Args:
        name: The file's name.
        values: By placeholder.
    """
    lines = (INFRA / name).read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#"))
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def fill_in_waiting_room(directory: Path, parameters: Mapping[str, str]) -> None:
    """Copy the waiting room to a directory, with other parameters."""
    shutil.copytree(WAITING_ROOM_FILES, directory, dirs_exist_ok=True)
    lines = [f"{name}={value}\n" for name, value in parameters.items()]
    (directory / "parameters.env").write_text("".join(lines), encoding="utf-8")
