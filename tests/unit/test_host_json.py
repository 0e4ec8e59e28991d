"""host.json: what the Functions host in Azure is told, beside what the code relies on."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.adapters.durable import GRACE_SECONDS
from shared.application.retention import MAX_SECONDS
from shared.settings import RecoverySettings

HOST: dict[str, Any] = json.loads((Path(__file__).parents[2] / "host.json").read_text())
STORAGE = HOST["extensions"]["durableTask"]["storageProvider"]


def seconds(span: str) -> float:
    return (datetime.strptime(span, "%H:%M:%S") - datetime(1900, 1, 1)).total_seconds()  # noqa: DTZ001, DTZ007 - a span


def test_stuck_is_three_times_the_redelivery() -> None:
    # The hub delivers lost work again after these; recovery must not end an orchestration that only waits for that.
    redelivery = max(seconds(STORAGE[name]) for name in STORAGE if name.endswith("VisibilityTimeout"))
    assert redelivery == 60
    [at_least] = [each.ge for each in RecoverySettings.model_fields["stuck_after"].metadata if hasattr(each, "ge")]
    assert at_least >= 3 * redelivery


def test_an_idle_hub_answers_within_seconds() -> None:
    assert seconds(STORAGE["maxQueuePollingInterval"]) <= 2
    assert STORAGE["partitionCount"] == 1  # each is a queue that is polled, and billed, by every instance


def test_the_bundle_is_the_stable_one_with_grpc() -> None:
    # The durable library's opt-in to gRPC is in the extension 3.10, which the stable bundle has since 4.33.0.
    bundle = HOST["extensionBundle"]
    assert bundle == {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.33.0, 5.0.0)"}


def test_a_purge_ends_before_the_host_ends_it() -> None:
    assert MAX_SECONDS / 2 + GRACE_SECONDS < MAX_SECONDS < seconds(HOST["functionTimeout"]) - 60


def test_the_host_exports_no_log_in_the_normal_case() -> None:
    # Only what is exported, and billed: the log stream keeps the level Information.
    assert HOST["telemetryMode"] == "OpenTelemetry"
    assert HOST["logging"]["OpenTelemetry"] == {"logLevel": {"default": "Warning"}}
    assert HOST["logging"]["logLevel"]["default"] == "Information"
    # Of the older library, which this mode does not load: learn.microsoft.com/azure/azure-functions/opentelemetry-howto
    assert "applicationInsights" not in HOST["logging"]
