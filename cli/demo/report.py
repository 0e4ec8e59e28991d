"""What the demo has seen, and how it is told."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from rich.console import Console

from cli.api import Api, Json

STEPS = {
    "place": "a cluster is chosen, and the signup waits for its turn",
    "apply": "the Kubernetes objects are created",
    "start": "the pod becomes ready, and the gateway serves the address",
}
SIGNUPS = "  {:9}{:>7}{:>7}{:>7}   {}"
DECISION = "    {tenant:10}{plan:10}{outcome:11}{reason}"


@dataclass
class Report:
    """The operations, problems, opened addresses, decisions, costs and failures so far, and where the page is."""

    operations: dict[str, Json] = field(default_factory=dict[str, Json])
    problems: list[str] = field(default_factory=list[str])
    opened: list[str] = field(default_factory=list[str])
    sweep: Json = field(default_factory=dict[str, Any])
    costs: Json = field(default_factory=dict[str, Any])
    page: str = ""
    failures: list[str] = field(default_factory=list[str])

    def expect(self, holds: bool, text: str) -> None:
        """Record a check; one that does not hold makes the demo fail."""
        if not holds:
            self.failures.append(text)

    async def follow(self, api: Api, name: str, operation: Json) -> None:
        """Follow an operation to its end."""
        async for each in api.follow(operation):
            self.operations[name] = each

    def as_json(self, tenants: int, *, seconds: float) -> dict[str, Any]:
        """Return all of it."""
        return {
            "tenants": tenants,
            "operations": [
                {
                    "tenant": name,
                    "kind": operation["kind"],
                    "state": operation["state"],
                    "reason": operation["reason"],
                    "seconds": _seconds(operation),
                }
                for name, operation in sorted(self.operations.items())
            ],
            "percentiles": self._percentiles(),
            "opened": self.opened,
            "problems": self.problems,
            "sweep": self.sweep,
            "report": self.costs,
            "page": self.page,
            "failures": self.failures,
            "seconds": round(seconds, 1),
        }

    def print_signups(self, console: Console) -> None:
        """Print how long the signups took, and which did not succeed."""
        console.print(SIGNUPS.format("seconds", "p50", "p95", "p99", "").rstrip())
        for step, values in self._percentiles().items():
            numbers = (f"{value:.2f}" for value in values.values())
            console.print(SIGNUPS.format(step, *numbers, STEPS.get(step, "")).rstrip())
        console.print("  what has to fail does so:")
        failed = [f"{name} failed: {each['reason']}" for name, each in self.operations.items() if _has_failed(each)]
        for problem in (*self.problems, *failed):
            console.print(textwrap.indent(problem, "    "))

    def print_sweep(self, console: Console, examples: Sequence[str]) -> None:
        """Print what a sweep has done, and its decisions on some tenants."""
        sweep = self.sweep
        kept = sweep["looked_at"] - sweep["hibernated"]
        console.print(
            f"  of {sweep['looked_at']} tenants, {sweep['hibernated']} are asleep now, which saves "
            f"${sweep['saves']:.2f} a month, and {kept} stay awake; for example:"
        )
        for each in sweep["decisions"]:
            if each["tenant"] in examples:
                console.print(DECISION.format(**each))

    def print_end(self, console: Console, seconds: float) -> None:
        """Print whether all checks have passed."""
        if self.failures:
            console.print(f"\n[bold red]checks failed[/] after {seconds:.1f} s:", markup=True)
            for failure in self.failures:
                console.print(f"  {failure}")
        else:
            console.print(
                f"\n[bold green]all checks passed[/] after {seconds:.1f} s: "
                "Kubernetes and the tables hold exactly the tenants that berth reports",
                markup=True,
            )

    def _percentiles(self) -> dict[str, dict[str, float]]:
        provisioned = [
            _seconds(each)
            for each in self.operations.values()
            if (each["kind"], each["state"]) == ("provision", "succeeded")
        ]
        found = {step: _percentiles_of([times[step] for times in provisioned]) for step in STEPS}
        return found | {"all": _percentiles_of([sum(times.values()) for times in provisioned])}


def _seconds(operation: Json) -> dict[str, float]:
    return {step["name"]: step["seconds"] for step in operation["steps"] if step["seconds"] is not None}


def _has_failed(operation: Json) -> bool:
    return operation["state"] == "failed"


def _percentiles_of(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {name: round(sum(values), 3) for name in ("p50", "p95", "p99")}
    cuts = quantiles(values, n=100, method="inclusive")
    return {f"p{share}": round(cuts[share - 1], 3) for share in (50, 95, 99)}
