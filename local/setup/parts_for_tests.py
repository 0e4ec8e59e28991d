"""The parts that only the tests need: the deployed packages, a browser, Prometheus, and libraries from npm."""

import os
import shutil
import sys
from pathlib import Path

from local.setup.cache import Slot, cache_key
from local.setup.jobs import Job, SetupError
from local.setup.parts import GO, NPM, PIP, Part
from local.setup.tools import GO_OPTIONS, compile_packages, compile_programs, install_from_npm, make_environment

_UNPACK = """
import { inflate } from "@sparticuz/chromium";
for (const name of ["chromium.br", "fonts.tar.br", "al2023.tar.br"])
    await inflate(`node_modules/@sparticuz/chromium/bin/${name}`);
"""


def deployed_packages(project: Path, cache: Path) -> Part:
    """Return what the deployment package installs, in `site-packages`: the product's own requirements alone."""
    requirements = project / "requirements.txt"
    path = cache / "package" / cache_key(requirements.read_bytes(), sys.version)

    def build(job: Job, directory: Path) -> None:
        packages, tool = directory / "site-packages", directory / "pip"
        shutil.rmtree(packages, ignore_errors=True)
        make_environment(job, tool, requirements, target=packages)
        compile_packages(job, tool / "bin/python", packages)
        shutil.rmtree(tool)

    return Part("Deployed packages", Slot(path, "site-packages"), build, (PIP,))


def browser(project: Path, cache: Path) -> Part:
    """Return a headless Chromium with the libraries and the font that it needs, from an npm package that has them all.

    The system needs no package for it, and its fonts are not used.
    """
    source = project / "tests/setup/browser"
    files = [(source / name).read_bytes() for name in ("package-lock.json", "fonts.conf")]

    def build(job: Job, directory: Path) -> None:
        if os.uname().machine != "x86_64":
            raise SetupError("npm has Chromium for x86-64 only")
        node = install_from_npm(job, source, directory)
        unpacked = directory / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        job.begin("unpacking")
        job.run(
            [node, "--input-type=module", "-e", _UNPACK], directory=directory, environment={"TMPDIR": str(unpacked)}
        )
        shutil.copy(source / "fonts.conf", unpacked / "fonts")
        for left in ("node_modules", "node"):
            shutil.rmtree(directory / left, ignore_errors=True)

    ways = (
        "BERTH_CHROMIUM=PROGRAM takes a Chromium that you have, version 150 or later",
        NPM,
        f"{PIP} (for Node >= 22)",
    )
    return Part("Browser", Slot(cache / "browser" / cache_key(*files, _UNPACK), "unpacked/chromium"), build, ways)


def page_libraries(project: Path, cache: Path) -> Part:
    """Return the npm packages of which the ops pages have vendored files, and axe-core, which looks for barriers."""
    source = project / "tests/setup/pages"

    def build(job: Job, directory: Path) -> None:
        install_from_npm(job, source, directory)
        shutil.rmtree(directory / "node", ignore_errors=True)

    path = cache / "pages" / cache_key((source / "package-lock.json").read_bytes())
    return Part("Page libraries", Slot(path, "node_modules"), build, (NPM, f"{PIP} (for Node >= 22)"))


def prometheus(project: Path, cache: Path) -> Part:
    """Return Prometheus without its service discoveries, compiled from its Go module at the version of go.mod."""
    source = project / "tests/setup/prometheus"
    files = [(source / name).read_bytes() for name in ("go.mod", "go.sum")]
    options = (*GO_OPTIONS, "-ldflags=-s -w", "-tags=remove_all_sd")  # these are a third of its packages

    def build(job: Job, directory: Path) -> None:
        compile_programs(job, source, directory, options)

    ways = ("BERTH_PROMETHEUS=PROGRAM takes a Prometheus 3 that you have", GO, f"{PIP} (for Go >= 1.26)")
    return Part("Prometheus", Slot(cache / "prometheus" / cache_key(*files, *options), "bin/prometheus"), build, ways)


def kusto(project: Path, cache: Path) -> Part:
    """Return Microsoft's library that parses and binds KQL, from npm; Azurite's Node runs it."""
    source = project / "tests/setup/kusto"
    path = cache / "kusto" / cache_key((source / "package-lock.json").read_bytes())

    def build(job: Job, directory: Path) -> None:
        install_from_npm(job, source, directory)
        shutil.rmtree(directory / "node", ignore_errors=True)

    ways = (
        "BERTH_KUSTO=DIRECTORY takes a package @kusto/language-service-next that you have",
        NPM,
        f"{PIP} (for Node >= 22)",
    )
    return Part("Kusto's library", Slot(path, "node_modules/@kusto/language-service-next"), build, ways)
