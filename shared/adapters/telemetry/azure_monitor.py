"""Sends metrics, spans and logs to Application Insights, if the app has a connection string.

The distro sets the exporters up; this module is their one owner. `PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY` would
let Microsoft's worker set them up a second time, and every record would be sent twice.
"""

import logging
import os
from collections.abc import Callable

from shared.events import log_event

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTHER_OWNER = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"
CONTEXT = "PYTHON_ENABLE_OPENTELEMETRY"
ROOTS = ("shared", "functions")  # the packages whose loggers are exported
# Of libraries whose calls berth records itself, or does not make.
_INSTRUMENTATIONS = (
    *("azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "logging"),
    *("psycopg2", "requests", "urllib", "urllib3"),
)
_TRUE = ("1", "true")
RESPONSE_SECONDS = 5.0  # that ingestion may take; the library's 300 would hold up all that follows, and a worker's end
# App settings win over these.
_DEFAULTS = {
    # The distro keeps 5 traces a second if nothing is set. The Functions host reads the same two.
    "OTEL_TRACES_SAMPLER": "microsoft.fixed_percentage",
    "OTEL_TRACES_SAMPLER_ARG": "1.0",
    # Without this, the distro asks a virtual machine's metadata service, which a function app does not have.
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "azure_functions",
    # The library's statistics about itself, for its makers and for us, and its requests for settings of its makers.
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED": "true",
}

logger = logging.getLogger(__name__)
_has_started = False


def start_telemetry() -> None:
    """Send telemetry from now on, if there is a connection string; once, however often it is called.

    The libraries are imported only then: an app without Application Insights pays nothing. An app setting that is wrong
    is logged, and never keeps berth from working.
    """
    global _has_started  # noqa: PLW0603 - OpenTelemetry's providers are those of the process, too
    if _has_started or not os.environ.get(CONNECTION):
        return
    _has_started = True
    if os.environ.get(OTHER_OWNER, "").lower() in _TRUE:
        log_event(logger, f"berth sends no telemetry: remove the app setting {OTHER_OWNER}", level=logging.ERROR)
        return
    if os.environ.get(CONTEXT, "").lower() not in _TRUE:
        log_event(logger, f"nothing belongs to its request: set {CONTEXT} to true", level=logging.WARNING)
    os.environ.setdefault("OTEL_SERVICE_NAME", os.environ.get("WEBSITE_SITE_NAME", "berth"))
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        _set_up()
    except Exception as error:  # whose text may quote the connection string
        event = f"berth sends no telemetry: check the app setting {CONNECTION}"
        log_event(logger, event, level=logging.ERROR, error=type(error).__name__)


def _set_up() -> None:
    from azure.monitor import opentelemetry as distro
    from opentelemetry import metrics, trace

    from shared.adapters.telemetry.log_records import EventRecords, is_not_exported_yet
    from shared.adapters.telemetry.opentelemetry_recorder import OpenTelemetryRecorder
    from shared.telemetry.recorder import use_recorder

    first, *others = (logging.getLogger(name) for name in ROOTS)
    before = set(first.handlers)
    configure: Callable[..., None] = distro.configure_azure_monitor  # pyright: ignore[reportUnknownVariableType]
    configure(
        logger_name=first.name,
        log_record_processors=[EventRecords()],
        enable_live_metrics=False,
        enable_performance_counters=False,
        instrumentation_options={name: {"enabled": False} for name in _INSTRUMENTATIONS},
        read_timeout=RESPONSE_SECONDS,
    )
    for handler in set(first.handlers) - before:
        handler.setLevel(logging.INFO)
        handler.addFilter(is_not_exported_yet)
        for other in others:
            other.addHandler(handler)
    use_recorder(OpenTelemetryRecorder(trace.get_tracer("berth"), metrics.get_meter("berth")))
