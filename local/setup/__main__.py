"""`./berth COMMAND ...`: makes the parts that the command needs, then becomes the command."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from local.setup.cache import cache_directory
from local.setup.jobs import SetupError
from local.setup.parts import (
    azurite,
    check_binaries,
    gateway_api,
    kubernetes_binaries,
    python_environment,
)
from local.setup.parts_for_tests import browser, deployed_packages, kusto, page_libraries, prometheus
from local.setup.progress import make_all
from local.signals import interrupt_on_signals

_RUN_THE_STACK = {"demo", "up", "test", "bench", "kubectl"}


def needs_stack(arguments: Sequence[str]) -> bool:
    """Whether this command line runs parts of the stack, and so needs more than the Python environment."""
    command, *rest = arguments or [""]
    asks_for_help = command != "kubectl" and not {"-h", "--help"}.isdisjoint(rest)  # kubectl gives its own help
    return command in _RUN_THE_STACK and not asks_for_help


def main(arguments: Sequence[str]) -> None:
    """Set up, then replace this process by the command. Exits with 1 when a part failed, 130 when interrupted."""
    project, cache = Path(__file__).resolve().parents[2], cache_directory(os.environ)
    environment = python_environment(project, cache)
    parts = [environment]
    python = environment.slot.path / "bin/python"
    search = [python.parent]
    # The command's own processes find the project by PYTHONPATH, which ./berth set, from any working directory.
    variables = {
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",  # else pyright asks npm for its newest version at every run
        "PYTHONDONTWRITEBYTECODE": "",  # where it is set, each of the many processes would compile everything again
    }
    if needs_stack(arguments):
        tables = azurite(project, cache)
        routes = gateway_api(project, cache)
        parts += [tables, routes]
        node = tables.slot.path / "bin/node"
        search.append(node.parent)
        variables["BERTH_NODE"] = str(node)
        variables["BERTH_AZURITE"] = str(tables.slot.path / "node_modules/azurite/dist/src/table/main.js")
        variables["BERTH_GATEWAY_API"] = str(routes.slot.path / "definitions")
        if given := os.environ.get("BERTH_KUBE_BINARIES"):
            binaries = Path(given).expanduser().resolve()
            check_binaries(binaries)
        else:
            kubernetes = kubernetes_binaries(project, cache)
            parts.append(kubernetes)
            binaries = kubernetes.slot.path / "bin"
        variables["BERTH_KUBE_BINARIES"] = str(binaries)
        own = [("BERTH_CHROMIUM", browser)] if arguments[0] == "test" or arguments[:2] == ["bench", "pages"] else []
        if arguments[0] == "test":
            packages = deployed_packages(project, cache)
            parts.append(packages)
            variables["BERTH_DEPLOYED_PACKAGES"] = str(packages.slot.path / "site-packages")
            own += [
                ("BERTH_PAGE_LIBRARIES", page_libraries),
                ("BERTH_PROMETHEUS", prometheus),
                ("BERTH_KUSTO", kusto),
            ]
        for name, part in own:
            if not os.environ.get(name):
                made = part(project, cache)
                parts.append(made)
                variables[name] = str(made.slot.path / made.slot.product)
    if missing := [part for part in parts if not part.slot.is_complete]:
        print(f"berth: setting up, once, in {cache}", file=sys.stderr)
        interrupt_on_signals()  # which stops the tools
        if not make_all(missing):
            sys.exit(
                "berth: not set up yet. The same command goes on where it stopped. Or copy the whole of\n"
                f"{cache} to the same place from a machine of the same kind that is set up."
            )
    link_environment(project / ".venv", environment.slot.path)
    variables["PATH"] = os.pathsep.join([*map(str, search), os.environ.get("PATH", os.defpath)])
    os.execve(python, [str(python), "-P", "-m", "cli", *arguments], {**os.environ, **variables})  # noqa: S606 - no shell wanted


def link_environment(link: Path, target: Path) -> None:
    """Let `.venv` in the clone lead to the environment, for editors. A `.venv` that is no link stays as it is."""
    with suppress(OSError):  # a clone that cannot be written to works all the same
        if link.is_symlink() and link.readlink() != target:
            link.unlink()
        if not link.exists():
            link.symlink_to(target)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SetupError as error:
        sys.exit(f"berth: {error}")
    except KeyboardInterrupt:
        print("\nberth: stopped. The same command goes on where it stopped.", file=sys.stderr)
        sys.exit(130)
