"""The programs that an operator has for Azure and Kubernetes: az, kubectl, kubelogin."""

import asyncio
from typing import Protocol

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
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise CommandError(f"there is no {command[0]} here: docs/deploy.md says what you need") from error
        try:
            output, errors = await process.communicate(stdin.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise CommandError(f"{command[0]}: {errors.decode(errors='replace').strip()[-_MAX_ERROR:]}")
        return output.decode()
