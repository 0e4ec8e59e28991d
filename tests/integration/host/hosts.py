"""The sample app on a host and a task hub of its own."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import httpx
import psutil

from local.ports import Ports, listens
from local.processes import Processes
from local.table_server import responds

APP = Path(__file__).parent / "app"
ROOT = Path(__file__).parents[3]
KEYS = {"master": "m" * 20, "default": "d" * 20}


@dataclass
class Host:
    processes: Processes
    http: httpx.AsyncClient
    url: str
    notes: Path
    name: str

    def workers(self) -> list[int]:
        """The process ids of those that run the app."""
        return [each.pid for each in psutil.Process(self.processes.pids()[f"{self.name}-host"]).children()]

    async def ready(self) -> bool:
        return await responds(f"{self.url}/", status=200)

    async def start(self, orchestration: str, text: str = "") -> str:
        instance = token_hex(6)
        (await self.http.post(f"v1/start/{orchestration}/{instance}", content=text)).raise_for_status()
        return instance

    async def state(self, instance: str) -> str:
        return (await self.http.get(f"v1/state/{instance}")).raise_for_status().text

    async def result(self, instance: str, *, seconds: float = 20) -> str:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    word, _, output = (await self.state(instance)).partition(" ")
                except httpx.HTTPError:
                    word, output = "AWAY", ""
                if word not in ("PENDING", "RUNNING", "AWAY"):
                    return f"{word} {json.loads(output)}" if output else word
                await asyncio.sleep(0.05)

    def count(self, line: str) -> int:
        return self.notes.read_text().splitlines().count(line)

    def processes_of(self, line: str) -> list[int]:
        """The last words of the notes that begin so, which are process ids."""
        return [int(each.split()[-1]) for each in self.notes.read_text().splitlines() if each.startswith(f"{line} ")]

    async def noted(self, line: str, *, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not self.count(line):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def sample_host(
    processes: Processes,
    ports: Ports,
    name: str,
    *,
    workers: int,
    redelivery: float = 0.0,
    settings: Mapping[str, str] | None = None,
) -> AsyncGenerator[Host]:
    hub, port = ports.take(), ports.take()
    notes, keys = processes.directory / f"{name}-notes", processes.directory / f"{name}-keys.json"
    notes.touch()
    keys.write_text(json.dumps(KEYS))
    environment = {"NOTES": str(notes), "TICK": "0 0 0 1 1 *", "PYTHONPATH": str(ROOT), **(settings or {})}
    hub_command = [sys.executable, "-m", "local.task_hub", "--port", str(hub), "--redelivery", str(redelivery)]
    await processes.start(f"{name}-hub", hub_command, ready=lambda: listens(hub), environment=environment)
    command = [sys.executable, "-m", "local.host", "--app", str(APP), "--port", str(port)]
    command += ["--task-hub", f"127.0.0.1:{hub}", "--keys", str(keys), "--workers", str(workers)]
    command += ["--redelivery", str(redelivery)]
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as http:
        held = Host(processes, http, url, notes, name)
        await processes.start(f"{name}-host", command, ready=held.ready, environment=environment)
        yield held
        await processes.stop(f"{name}-host")
        await processes.stop(f"{name}-hub")
