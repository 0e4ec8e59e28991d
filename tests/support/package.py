"""The deployment package: the files that .funcignore leaves, with the packages of requirements.txt."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from local.stack import ROOT

PACKAGES = ".python_packages/lib/site-packages"


def deployed_files() -> set[str]:
    """Which of the repository's files are deployed."""
    listed = [line for line in (ROOT / ".funcignore").read_text().splitlines() if line]

    def named(path: str, patterns: list[str]) -> bool:  # as Core Tools does: from the start, not to the end
        return any(re.match(re.escape(each).replace(r"\*", "[^/]+"), path) for each in patterns)

    kept = [each.removeprefix("!") for each in listed if each.startswith("!")]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return {path for path in tracked if named(path, kept) or not named(path, listed)}


def make_package(directory: Path) -> None:
    """Make the package; its packages are a link to those that the set-up has installed."""
    for path in deployed_files():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, directory / path)
    (directory / PACKAGES).parent.mkdir(parents=True)
    (directory / PACKAGES).symlink_to(os.environ["BERTH_DEPLOYED_PACKAGES"])


def size(directory: Path) -> float:
    """Return the megabytes of a directory's files, without the bytecode that any Python makes."""
    files = (path for path in directory.rglob("*") if path.suffix != ".pyc" and path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6
