"""Sends the host's spans to Application Insights, or to its stand-in, with the exporter that the app uses too."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from local.host.tracing import SpanIds

ROLE = "functions-host"
# What is not sent within this time is kept on disk: the host's end must not take long.
EXPORT_SECONDS = 2
# For the exporter of this process only: what the workers' exporters call is to be seen.
_QUIET = {"APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true", "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true"}


@contextmanager
def exporting() -> Generator[None]:
    """Send the spans that are made meanwhile to where APPLICATIONINSIGHTS_CONNECTION_STRING says."""
    resource = Resource.create({"service.name": ROLE, "service.instance.id": str(os.getpid())})
    provider = TracerProvider(ParentBased(ALWAYS_ON), resource, id_generator=SpanIds())
    with _environment(_QUIET):
        exporter = AzureMonitorTraceExporter(tracer_provider=provider, read_timeout=EXPORT_SECONDS, retry_total=0)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
