"""How telemetry is set up, each time in a process of its own: OpenTelemetry's providers are those of a process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CONNECTION = "InstrumentationKey=b27fe76a-750b-4401-80ed-09a4c276032d;IngestionEndpoint=http://127.0.0.1:9/"
PROGRAM = """
import json, logging, sys, threading
logging.basicConfig(format="%(levelname)s %(message)s")
from shared.adapters.telemetry.azure_monitor import start_telemetry
start_telemetry()
threads = threading.active_count()
start_telemetry()
from opentelemetry import trace
from shared.telemetry.recorder import recorder
provider = trace.get_tracer_provider()
print(json.dumps({
    "recorder": type(recorder()).__name__,
    "exporters": "azure.monitor.opentelemetry" in sys.modules,
    "threads": [threads, threading.active_count()],
    "sampler": provider.sampler.get_description() if hasattr(provider, "sampler") else "",
    "role": dict(provider.resource.attributes).get("service.name", "") if hasattr(provider, "resource") else "",
    "handlers": {name: len(logging.getLogger(name).handlers) for name in ("", "shared", "functions", "azure")},
}))
sys.stdout.flush()
import os
os._exit(0)
"""


def started(**settings: str) -> tuple[dict[str, Any], str]:
    """Return what is there after the start with these app settings, and what was logged."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("APPLICATIONINSIGHTS", "OTEL"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**kept, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_without_a_connection_string_nothing_is_loaded() -> None:
    found, log = started(PYTHON_ENABLE_OPENTELEMETRY="true")
    assert (found["recorder"], found["exporters"], log) == ("NoRecorder", False, "")


def test_all_is_set_up_once_and_every_trace_is_kept() -> None:
    found, log = started(
        APPLICATIONINSIGHTS_CONNECTION_STRING=CONNECTION, PYTHON_ENABLE_OPENTELEMETRY="true", WEBSITE_SITE_NAME="func-x"
    )
    assert found["recorder"] == "OpenTelemetryRecorder"
    assert found["sampler"] == "ApplicationInsightsSampler1.0"
    assert found["role"] == "func-x"
    assert found["handlers"] == {"": 1, "shared": 1, "functions": 1, "azure": 0}
    before, after = found["threads"]
    assert before == after
    assert log == ""


def test_app_settings_choose_the_sampler() -> None:
    found, _ = started(
        APPLICATIONINSIGHTS_CONNECTION_STRING=CONNECTION,
        PYTHON_ENABLE_OPENTELEMETRY="true",
        OTEL_TRACES_SAMPLER="microsoft.fixed_percentage",
        OTEL_TRACES_SAMPLER_ARG="0.5",
    )
    assert found["sampler"] == "ApplicationInsightsSampler0.5"


@pytest.mark.parametrize("value", ["true", "1"])
def test_a_second_owner_is_an_error_and_berth_sends_nothing(value: str) -> None:
    found, log = started(
        APPLICATIONINSIGHTS_CONNECTION_STRING=CONNECTION, PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY=value
    )
    assert found["recorder"] == "NoRecorder"
    assert "ERROR berth sends no telemetry: remove" in log


@pytest.mark.parametrize("connection", ["@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/)", f"{CONNECTION};"])
def test_berth_works_without_a_usable_connection_string(connection: str) -> None:
    found, log = started(APPLICATIONINSIGHTS_CONNECTION_STRING=connection, PYTHON_ENABLE_OPENTELEMETRY="true")
    assert found["recorder"] == "NoRecorder"
    event = "berth sends no telemetry: check the app setting APPLICATIONINSIGHTS_CONNECTION_STRING"
    assert log == f"ERROR {event} error=ValueError\n"


def test_without_the_context_berth_warns_and_goes_on() -> None:
    found, log = started(APPLICATIONINSIGHTS_CONNECTION_STRING=CONNECTION)
    assert found["recorder"] == "OpenTelemetryRecorder"
    assert "WARNING nothing belongs to its request: set PYTHON_ENABLE_OPENTELEMETRY" in log
