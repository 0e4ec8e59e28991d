"""Sends metrics, spans and logs to Application Insights, if the app has a connection string.

The distro sets the exporters up; this module is their one owner. `PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY` would
let Microsoft's worker set them up a second time, and every record would be sent twice.
"""

import logging
import os
from collections.abc import Callable

from shared.settings import SettingsError, TelemetrySettings

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


def start_telemetry(settings: TelemetrySettings) -> bool:
    """Send telemetry from now on; False if there is no connection string.

    The libraries are imported only then: an app without Application Insights pays nothing.

    Raises:
        SettingsError: The app settings would send every record twice, or without its trace.
    """
    if not os.environ.get(CONNECTION):
        return False
    if os.environ.get(OTHER_OWNER, "").lower() in _TRUE:
        raise SettingsError(f"remove the app setting {OTHER_OWNER}: berth itself sends to Application Insights")
    if os.environ.get(CONTEXT, "").lower() not in _TRUE:
        raise SettingsError(f"set the app setting {CONTEXT} to true: without it, nothing belongs to its request")
    os.environ.setdefault("OTEL_SERVICE_NAME", os.environ.get("WEBSITE_SITE_NAME", "berth"))
    # Without this, the distro asks a virtual machine's metadata service, which a function app does not have.
    os.environ.setdefault("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "azure_functions")
    # The library's statistics about itself for its makers, and its requests for settings that they may change.
    os.environ.setdefault("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
    os.environ.setdefault("APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED", "true")
    os.environ.setdefault("APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED", "true")

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
        sampling_ratio=settings.sampling_ratio,  # set, because the default keeps 5 traces a second
        log_record_processors=[EventRecords()],
        enable_live_metrics=False,
        enable_performance_counters=False,
        instrumentation_options={name: {"enabled": False} for name in _INSTRUMENTATIONS},
    )
    for handler in set(first.handlers) - before:
        handler.addFilter(is_not_exported_yet)
        for logger in others:
            logger.addHandler(handler)
    use_recorder(OpenTelemetryRecorder(trace.get_tracer("berth"), metrics.get_meter("berth")))
    return True


def flush_telemetry() -> None:
    """Send what has not been sent yet; waits for it."""
    from opentelemetry import metrics, trace
    from opentelemetry._logs import get_logger_provider

    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider()):
        flush = getattr(provider, "force_flush", None)
        if flush is not None:
            flush()
