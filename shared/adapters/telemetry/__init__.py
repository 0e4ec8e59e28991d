"""Telemetry to Azure Monitor, by OpenTelemetry."""
