"""The parts: what each is made from, how it is made, and what helps when that fails."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.setup.cache import Slot, cache_key
from local.setup.jobs import Job, SetupError
from local.setup.tools import (
    GO_OPTIONS,
    compile_packages,
    compile_programs,
    find_go,
    go_environment,
    install_from_npm,
    make_environment,
)

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok")
GATEWAY_KINDS = ("gatewayclasses", "gateways", "httproutes")  # of the Gateway API, those that berth and its stack use
PIP = "pip follows its own settings: PIP_INDEX_URL, HTTPS_PROXY, or PIP_NO_INDEX=1 and PIP_FIND_LINKS=DIRECTORY"
NPM = "npm follows its own settings: npm_config_registry, HTTPS_PROXY, .npmrc"
GO = "Go follows its own settings: GOPROXY, HTTPS_PROXY, go env -w"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the set-up.

    `build` fills the directory of its slot, going on from whatever an interrupted attempt left there; `ways_round` are
    what a person can do when it fails.
    """

    title: str
    slot: Slot
    build: Callable[[Job, Path], None]
    ways_round: tuple[str, ...]

    def make(self, job: Job) -> None:
        """Build it, unless another process does so first. Raises SetupError, or Stopped when the job is stopped."""
        try:
            with self.slot.locked(job.wait) as job.lock:
                if not self.slot.is_complete:
                    self.build(job, self.slot.path)
                    self.slot.complete()
        except OSError as error:  # disk full, no permission
            raise SetupError(f"{job.phase}: {error.strerror}: {error.filename}") from error
        job.end("ready")


def python_environment(project: Path, cache: Path) -> Part:
    """Return the virtual environment with all that berth, its local stack and its tests import."""
    requirements = project / "requirements-dev.txt"
    path = cache / "python" / cache_key(requirements.read_bytes(), sys.version, sys.base_prefix)

    def build(job: Job, directory: Path) -> None:
        make_environment(job, directory, requirements)
        compile_packages(job, directory / "bin/python", directory / "lib")

    return Part("Python environment", Slot(path, "bin/python"), build, (PIP,))


def azurite(project: Path, cache: Path) -> Part:
    """Return Azurite, with a link `bin/node` to the Node that runs it."""
    source = project / "local/azurite"

    def build(job: Job, directory: Path) -> None:
        node = install_from_npm(job, source, directory)
        link = directory / "bin/node"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(node)

    path = cache / "azurite" / cache_key((source / "package-lock.json").read_bytes())
    return Part("Azurite", Slot(path, "bin/node"), build, (NPM, f"{PIP} (for Node >= 22)"))


def kubernetes_binaries(project: Path, cache: Path) -> Part:
    """Return the control plane's programs, compiled from Go modules at the versions that go.mod pins."""
    source = project / "local/kubernetes/build"
    files = (source / "go.mod", source / "go.sum")
    options = (*GO_OPTIONS, f"-ldflags={link_flags(files[0].read_text())}")
    path = cache / "kubernetes" / cache_key(*(file.read_bytes() for file in files), *options)

    def build(job: Job, directory: Path) -> None:
        compile_programs(job, source, directory, options)
        if (server := directory / "bin/server").exists():
            server.rename(server.with_name("etcd"))

    ways = (
        f"BERTH_KUBE_BINARIES=DIRECTORY takes programs you have and compiles none: {' '.join(BINARIES)}",
        GO,
        f"{PIP} (for Go >= 1.26)",
        "compiling takes 5 GB of disk and 2 GB of memory; 0.5 GB of disk stay in use",
    )
    return Part("Kubernetes binaries", Slot(path, "bin/kubectl"), build, ways)


def gateway_api(project: Path, cache: Path) -> Part:
    """Return the definitions of the Gateway API's kinds, from the Go module at the version that go.mod pins."""
    source = project / "local/kubernetes/gateway-api"
    files = (source / "go.mod", source / "go.sum")
    path = cache / "gateway-api" / cache_key(*(file.read_bytes() for file in files), *GATEWAY_KINDS)

    def build(job: Job, directory: Path) -> None:
        work = directory / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for file in files:
            shutil.copy(file, work)
        go = find_go(job, directory / "toolchain")
        job.begin("fetching the Go module")
        # An exact version in go.sum: Go checks the contents against its hash.
        job.run([go, "mod", "download"], lambda _: False, work, go_environment(work))
        (found,) = (work / "modules").glob("sigs.k8s.io/gateway-api@*/config/crd/standard")
        definitions = directory / "definitions"
        shutil.rmtree(definitions, ignore_errors=True)
        definitions.mkdir()
        for kind in GATEWAY_KINDS:
            shutil.copy(found / f"gateway.networking.k8s.io_{kind}.yaml", definitions)
        for left in (work, directory / "toolchain"):
            shutil.rmtree(left, ignore_errors=True)

    ways = (GO, f"{PIP} (for Go >= 1.26)")
    return Part("Gateway API", Slot(path, "definitions"), build, ways)


def check_binaries(directory: Path) -> None:
    """Raise SetupError unless all programs of the control plane are in a directory that the user named."""
    missing = [name for name in BINARIES if not os.access(directory / name, os.X_OK)]
    if missing:
        raise SetupError(f"BERTH_KUBE_BINARIES={directory} has no program {', '.join(missing)}")


def link_flags(module: str) -> str:
    """Return the linker's flags that tell the programs which version of Kubernetes the text of a go.mod pins."""
    version = re.search(r"^\tk8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", module, re.MULTILINE)
    assert version, "go.mod requires k8s.io/kubernetes"
    values = {"gitVersion": version[1], "gitMajor": version[2], "gitMinor": version[3], "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {package}.{name}={values[name]}" for package in packages for name in values)])
