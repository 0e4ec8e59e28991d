"""The libraries of the ops pages that are in the repository are exactly those that npm has."""

import json
import os
from pathlib import Path

from functions.http.pages.static_files import FILES

VENDOR = FILES / "vendor"


def test_the_vendored_files_are_those_of_npm() -> None:
    packages = Path(os.environ["BERTH_PAGE_LIBRARIES"])
    for each in json.loads((VENDOR / "manifest.json").read_text()):
        package = packages / each["package"]
        described = json.loads((package / "package.json").read_text())
        assert (each["version"], each["licence"]) == (described["version"], described["license"]), each["file"]
        # After an update: copy it, and write its version and hash into the manifest.
        assert (VENDOR / each["file"]).read_bytes() == (package / each["path"]).read_bytes(), each["file"]
