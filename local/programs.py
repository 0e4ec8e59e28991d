"""Other people's programs, such as kubectl and az: run to their end, with what they have said."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """What a program has left: its exit code, and all that it wrote."""

    code: int
    output: str
    errors: str


async def run_program(*command: str, stdin: str = "") -> Ended:
    """Run a program to its end; it is killed if nobody waits any more. Raises FileNotFoundError if it is not there."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await process.communicate(stdin.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, output.decode(), errors.decode(errors="replace").strip())
