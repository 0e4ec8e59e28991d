"""All metrics that berth records, and how to record one.

docs/telemetry.md has this list as a table. A metric never has a tenant as a dimension: Azure bills each combination of
dimensions in each minute, and a question about one tenant is answered by the spans, the log and the tables.
"""

from shared.telemetry.recorder import Instrument, Metric, recorder

SECONDS_BUCKETS = (0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 180, 300, 600)
"""The upper bounds of a histogram's buckets, in seconds; Application Insights keeps sum, count, minimum and maximum."""

_ALL: list[Metric] = []


def record(metric: Metric, value: float = 1.0, **dimensions: str) -> None:
    """Record one value of a metric.

    Args:
        metric: One of this module.
        value: How much, in the metric's unit.
        dimensions: A value for each of the metric's dimensions.
    """
    recorder().measure(metric, value, dimensions)


def all_metrics() -> tuple[Metric, ...]:
    """Return all metrics, in the order of this module."""
    return tuple(_ALL)


def _counter(name: str, unit: str, description: str, *dimensions: str) -> Metric:
    return _add(Metric(name, Instrument.COUNTER, unit, description, dimensions))


def _histogram(name: str, unit: str, description: str, *dimensions: str) -> Metric:
    return _add(Metric(name, Instrument.HISTOGRAM, unit, description, dimensions))


def _gauge(name: str, unit: str, description: str, *dimensions: str) -> Metric:
    return _add(Metric(name, Instrument.GAUGE, unit, description, dimensions))


def _add(metric: Metric) -> Metric:
    _ALL.append(metric)
    return metric


# When an operation or a sweep ends
OPERATION_DURATION = _histogram(
    "berth.operation.duration", "s", "From the request to the end of an operation or sweep.", "kind", "outcome"
)
STEP_DURATION = _histogram("berth.step.duration", "s", "A step of an operation or sweep.", "kind", "step")
OPERATION_FAILURES = _counter(
    "berth.operation.failures", "{operation}", "Operations that did not succeed, by the class of the reason.",
    "kind", "failure",
)  # fmt: skip
QUEUE_WAIT = _histogram(
    "berth.queue.wait", "s", "From the request to the first work on an operation that takes a slot.", "kind"
)

# Every minute, by the timer `recover`
OPEN_OPERATIONS = _gauge("berth.operations.open", "{operation}", "Operations that have not ended.", "kind")
STUCK_OPERATIONS = _gauge(
    "berth.operations.stuck", "{operation}",
    "Open operations without a heartbeat for `BERTH_RECOVERY_STUCK_AFTER`, which do not wait for a slot.",
    "kind",
)  # fmt: skip
QUEUE_LENGTH = _gauge(
    "berth.queue.length", "{operation}", "Operations that wait for a slot: `provision` and `wake` have a queue each.",
    "cluster", "kind",
)  # fmt: skip
SLOTS_USED = _gauge("berth.slots.used", "{slot}", "Slots in use: operations that start a tenant.", "cluster")
SLOTS_LIMIT = _gauge(
    "berth.slots.limit", "{slot}", "Slots that there are, by `BERTH_PROVISIONING_MAX_CONCURRENT`.", "cluster"
)
BREAKER_OPEN = _gauge("berth.breaker.open", "1", "1 while a cluster's breaker is open, else 0.", "cluster")
RECOVERY_RESTARTS = _counter(
    "berth.recovery.restarts", "{operation}", "Operations whose orchestration was lost or stuck, and was restarted.",
    "kind",
)  # fmt: skip
RECOVERY_EXHAUSTED = _counter(
    "berth.recovery.exhausted", "{operation}",
    "Looks at an operation that was restarted as often as allowed, and needs an operator.", "kind",
)  # fmt: skip

# Every 5 minutes, by the timer `poll_activity`
SIGNAL_AGE = _gauge(
    "berth.signal.age", "s",
    "How long ago a required source of activity was last heard, of the cluster where that is longest ago; "
    "30 days if it never was.",
    "source",
)  # fmt: skip

# Every hour, by the timers `reconcile` and `meter_costs`
TENANTS = _gauge("berth.tenants", "{tenant}", "Tenants that are not deleted.", "state", "plan")
FINDINGS = _gauge(
    "berth.findings", "{finding}", "Differences that the last comparison of clusters and records has found.", "kind"
)
AWAKE_HOURS = _gauge("berth.awake.hours", "h", "Hours awake of all tenants together, of the day so far.", "plan")
COST = _gauge("berth.cost", "USD", "What the fleet has cost, of the day so far in UTC.", "component")
RUN_RATE = _gauge("berth.run_rate", "USD/mo", "What the fleet would cost in 730 hours like those of the day so far.")
SAVINGS = _gauge("berth.savings", "USD", "What tenants would have cost more had they been awake, of the day so far.")
LEDGER_LAG = _gauge(
    "berth.ledger.lag", "s", "How long ago the moment was up to which costs are computed, after each run of metering."
)
BUDGET_PASSED = _counter(
    "berth.budget.passed",
    "{tenant}",
    "Tenants that passed their plan's budget of a month, once the day is final.",
    "plan",
)

# As it happens
SWEEPS = _counter(
    "berth.sweeps", "{sweep}", "Sweeps that are done, refused or stopped. Dry runs do not count.", "state"
)
SWEEP_DECISIONS = _counter(
    "berth.sweep.decisions",
    "{tenant}",
    "Decisions of sweeps about a tenant. Dry runs do not count.",
    "outcome",
    "reason",
)
CALL_DURATION = _histogram(
    "berth.dependency.duration", "s", "A call of another service with its retries.", "dependency", "outcome"
)
RETRIES = _counter(
    "berth.dependency.retries", "{retry}", "Calls of another service that were sent again.", "dependency"
)
THROTTLES = _counter(
    "berth.dependency.throttles", "{response}", "Responses that asked to wait (Retry-After).", "dependency"
)
TIMER_RUNS = _counter(
    "berth.timer.runs",
    "{run}",
    "Parts of timers: `done`, `held-up` until the next time, or `broke-off`.",
    "part",
    "outcome",
)
ROWS_SKIPPED = _counter("berth.rows.skipped", "{row}", "Times that a list left out a row that cannot be read.", "table")
