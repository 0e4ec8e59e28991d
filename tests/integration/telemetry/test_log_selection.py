"""Which lines of a log are exported: berth's own, from Information on. In a process set up as a worker is."""

import asyncio
import os
import sys
from pathlib import Path

from local.telemetry.process import Telemetry

ROOT = Path(__file__).parents[3]
LIBRARIES = ("azure", "azure.core", "azure.monitor", "aiohttp.client", "opentelemetry.sdk", "durabletask", "kubernetes")
SCRIPT = f"""
import logging
from shared.adapters.telemetry.azure_monitor import start_telemetry
from shared.events import log_event

logging.basicConfig(level=logging.DEBUG)
logging.getLogger("shared").setLevel(logging.DEBUG)
start_telemetry()
for name in {("", *LIBRARIES)!r}:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger(name).log(level, "of the library %s", name)
for name in ("shared.one", "functions.two"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log_event(logging.getLogger(name), "of berth", level=level, logger=name)
"""  # at its end, OpenTelemetry sends what is left


async def test_only_own_events_from_information_on(telemetry: Telemetry) -> None:
    environment = {**os.environ, **telemetry.settings, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    for each in ("DEBUG:azure.core:of the library", "ERROR:durabletask:of the library", "DEBUG:shared.one:of berth"):
        assert each in errors.decode()  # so they were logged
    sent = [each["data"]["baseData"] for each in await telemetry.envelopes(type="MessageData")]
    found = sorted((each["message"], each["properties"]["logger"], each["severityLevel"]) for each in sent)
    assert found == [("of berth", name, level) for name in ("functions.two", "shared.one") for level in (1, 2, 3)]
