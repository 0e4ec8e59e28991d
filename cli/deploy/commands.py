"""The programs that an operator has for Azure and Kubernetes: az, kubectl, kubelogin."""

from typing import Protocol

from local.programs import run_program

_MAX_ERROR = 4000  # characters of what a program has said


class CommandError(Exception):
    """A program failed, or is not there. The message is what it said, and never the arguments."""


class Commands(Protocol):
    """Runs programs."""

    async def run(self, *command: str, stdin: str = "") -> str:
        """Run one and return its output; raises CommandError."""
        ...


class SystemCommands:
    """Runs the programs of this machine."""

    async def run(self, *command: str, stdin: str = "") -> str:
        """Run one and return its output; raises CommandError."""
        try:
            ended = await run_program(*command, stdin=stdin)
        except FileNotFoundError as error:
            raise CommandError(f"there is no {command[0]} here: docs/deploy.md says what you need") from error
        if ended.code:
            raise CommandError(f"{command[0]}: {ended.errors[-_MAX_ERROR:]}")
        return ended.output
