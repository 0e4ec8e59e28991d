"""The usage and the help of the `./berth` commands, and how they print."""

import argparse
import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from cli import clusters, latency, stack, sweep
from cli.__main__ import INTERRUPTED, main
from cli.api import Api, Json, ProblemError
from cli.confirming import NotConfirmedError
from cli.output import console
from cli.running import TargetError, connect
from functions.http.problems import problem_of
from local.gateway.process import GatewayProcess
from local.stack import Stack
from shared.domain.latency import LatencyKind
from shared.domain.latency_report import Grouping
from shared.errors import Invalid, Unfit
from tests.support.builders import PLANS

TENANT: Json = {
    "slug": "acme",
    "state": "provisioning",
    "operation": "acme.1",
    "observed": None,
    "activity": [],
    "dormancy": None,
}


def operation(kind: str = "provision", *, cancel_requested: bool = False) -> Json:
    done = {"name": "apply", "state": "done", "seconds": 0.13, "message": "applying the objects on local"}
    running = {"name": "start", "state": "running", "seconds": None, "message": "waiting for the pod"}
    return {
        "id": "acme.1",
        "kind": kind,
        "tenant": "acme",
        "state": "running",
        "percent": 50,
        "reason": "",
        "cancel_requested": cancel_requested,
        "queue_position": None,
        "finished_at": None,
        "steps": [done, running],
    }


def respond(monkeypatch: pytest.MonkeyPatch, responses: dict[str, Json]) -> None:
    """Let another berth respond to these requests, and Ctrl-C interrupt all others."""
    monkeypatch.setenv("BERTH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BERTH_KEY", "key")

    async def call(_: Api, method: str, path: str, *__: Any, **___: Any) -> Json:
        if f"{method} {path}" not in responses:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)
        return responses[f"{method} {path}"]

    monkeypatch.setattr(Api, "call", call)


def usage_error(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    return capsys.readouterr().err


def help_text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as raised:
        main([*arguments, "--help"])
    assert raised.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["down", "status", "tenants list", "tenants cancel acme", "clusters cordon local"])
def test_an_unknown_argument_prints_the_commands_usage(capsys: pytest.CaptureFixture[str], command: str) -> None:
    words = command.split()
    error = usage_error(capsys, [*words, "--bogus"])
    assert error.startswith(f"usage: ./berth {' '.join(words[:2])} [-h]")
    assert "unknown arguments: --bogus" in error


@pytest.mark.parametrize("seconds", ["-1", "inf", "nan", "soon"])
def test_redelivery_is_a_number_of_seconds(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    assert "argument --redelivery" in usage_error(capsys, ["up", f"--redelivery={seconds}"])


def test_help_names_all_plans_and_their_weights(capsys: pytest.CaptureFixture[str]) -> None:
    *others, last = PLANS
    assert f"{', '.join(others)} or {last} (default: trial)" in help_text(capsys, "tenants", "create")
    weights = ", ".join(f"{plan.name} {plan.weight}" for plan in PLANS.values())
    assert weights in help_text(capsys, "clusters", "resize")


def test_piped_text_is_neither_wrapped_nor_changed(capsys: pytest.CaptureFixture[str]) -> None:
    text = "the image [bold]registry.example.com/product:missing-1[/] :warning: cannot be pulled " * 5
    console().print(text)
    assert capsys.readouterr().out == f"{text}\n"


@pytest.mark.parametrize(
    ("command", "kind", "cancel_requested", "sentence"),
    [
        ("create", "provision", False, ", end it with ./berth tenants cancel acme"),
        ("retry", "provision", False, ", end it with ./berth tenants cancel acme"),
        ("cancel", "provision", True, "; it is being cancelled"),
        ("sleep", "hibernate", False, ", end it with ./berth tenants cancel acme"),
        ("wake", "wake", False, ", end it with ./berth tenants cancel acme"),
        ("delete", "delete", False, "; a deletion cannot be cancelled"),
    ],
)
def test_an_interrupted_command_says_what_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    kind: str,
    cancel_requested: bool,
    sentence: str,
) -> None:
    changes = ("POST tenants/acme/retry", "POST tenants/acme/sleep", "POST tenants/acme/wake", "DELETE tenants/acme")
    requests = ("POST tenants", "POST operations/acme.1/cancel", *changes)
    begun = operation(kind, cancel_requested=cancel_requested)
    respond(monkeypatch, {"GET tenants/acme": TENANT, **dict.fromkeys(requests, begun)})
    assert main(["tenants", command, "acme"]) == INTERRUPTED
    follow = "the operation goes on: follow it with ./berth tenants show acme"
    assert capsys.readouterr().err == f"berth: interrupted\n{follow}{sentence}\n"


@pytest.mark.parametrize("action", ["sleep", "wake"])
def test_what_is_so_already_is_only_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    tenant = TENANT | {"state": "as it was to be", "plan": "trial", "cluster": "local", "version": "1"}
    respond(monkeypatch, {f"POST tenants/acme/{action}": tenant})
    assert main(["tenants", action, "acme"]) == 0
    assert "as it was to be" in capsys.readouterr().out


@pytest.mark.parametrize(("turned_round", "state", "code"), [(True, "cancelled", 0), (False, "cancelled", 1)])
def test_a_wake_that_turns_a_hibernation_round_succeeds(
    monkeypatch: pytest.MonkeyPatch, turned_round: bool, state: str, code: int
) -> None:
    ended: Json = {"state": state, "finished_at": "2026-01-01T00:00:00.000Z", "kept_volumes": []}
    begun = operation("hibernate", cancel_requested=turned_round) | ended
    respond(monkeypatch, {"POST tenants/acme/wake": begun})
    assert main(["tenants", "wake", "acme"]) == code


def test_an_interrupted_request_may_have_been_received(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    respond(monkeypatch, {})
    assert main(["tenants", "create", "acme"]) == INTERRUPTED
    sentence = "the request may have been received: see ./berth tenants show acme"
    assert capsys.readouterr().err == f"berth: interrupted\n{sentence}\n"


def test_a_step_that_is_done_shows_no_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    respond(monkeypatch, {"GET tenants/acme": TENANT, "GET operations/acme.1": operation()})
    assert main(["tenants", "show", "acme"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["apply", "done", "0.13"] in lines
    assert ["start", "running", "waiting", "for", "the", "pod"] in lines


POLICY = {"idle_days": 3, "never_active_days": 14, "exempt": False, "keep_awake_until": None}


def test_a_policy_is_shown_with_where_it_is_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = POLICY | {"overridden": ["idle_days"]}
    respond(monkeypatch, {"PUT tenants/acme/policy": TENANT | {"policy": policy}})
    assert main(["tenants", "policy", "acme", "--idle-days", "3"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["idle_days", "3", "tenant"] in lines
    assert ["never_active_days", "14", "plan"] in lines
    assert ["exempt", "no", "plan"] in lines
    assert ["keep_awake_until", "not", "set", "plan"] in lines
    respond(monkeypatch, {"GET tenants/acme": TENANT | {"policy": policy | {"exempt": True}}})
    assert main(["tenants", "policy", "acme"]) == 0
    assert ["exempt", "yes", "plan"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_policy_that_is_the_plans_takes_no_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    respond(monkeypatch, {})
    options = ["tenants", "policy", "acme", "--as-plan", "--exempt", "no"]
    assert "--as-plan goes with no other option" in usage_error(capsys, options)


SWEEP = {
    "id": "sweep-2026-02-28",
    "state": "deciding",
    "reason": "",
    "dry_run": True,
    "ended_at": None,
    "looked_at": 1,
    "hibernate": 1,
    "saves": 13.42,
    **dict.fromkeys(("to_do", "begun", "hibernated", "kept", "turned_round", "failed"), 0),
}
DECISION = {
    "tenant": "acme",
    "plan": "trial",
    "outcome": "hibernate",
    "action": "none",
    "saves": 13.42,
    "reason": "it was last used 9.0 days ago (heartbeat), and 7 days are allowed",
    "note": "",
}


@pytest.mark.parametrize(
    ("changed", "code", "sentence"),
    [
        ({"state": "done"}, 0, "done: it would save $13.42 a month"),
        ({"state": "done", "dry_run": False, "hibernated": 1}, 0, "done: it saves $13.42 a month"),
        ({"state": "refused", "reason": "the clock is wrong"}, 1, "refused: the clock is wrong"),
    ],
)
def test_a_sweep_shows_its_progress_and_decisions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changed: Json, code: int, sentence: str
) -> None:
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0)
    ended = SWEEP | {"ended_at": "2026-02-28T12:00:00.000Z"} | changed
    decisions = {"items": [DECISION], "next": ""}
    path = "sweeps/sweep-2026-02-28"
    respond(monkeypatch, {"POST sweeps": SWEEP, f"GET {path}": ended, f"GET {path}/decisions": decisions})
    assert main(["sweep", "--dry-run"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["sweep sweep-2026-02-28, a dry run", "deciding  looked at 1, 1 dormant"]
    assert any(line.split()[:4] == ["acme", "trial", "hibernate", "13.42"] for line in lines)
    assert lines[-1] == sentence


def test_sweeps_are_switched_off_and_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    respond(monkeypatch, {"PATCH sweeps": {"enabled": False}})
    assert main(["sweep", "--off"]) == 0
    assert capsys.readouterr().out == "sweeps are off\n"
    assert "not allowed with argument" in usage_error(capsys, ["sweep", "--off", "--dry-run"])


def test_an_interrupted_sweep_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    respond(monkeypatch, {"POST sweeps": SWEEP})
    assert main(["sweep"]) == INTERRUPTED
    assert f"berth: interrupted\n{sweep.HOW_TO_STOP}\n" in capsys.readouterr().err


LATENCY_LINE: Json = {
    "kind": "provision",
    "group": "2026-W09",
    "count": 20,
    "failures": 3,
    "reasons": {"image": 2, "timeout": 1},
    "error": 0.01,
    "mean": 5.5,
    "p50": 4.0,
    "p95": 12.25,
    "p99": 14.0,
    "waiting_mean": 4.5,
}
LATENCY: Json = {
    "first_day": "2026-02-23",
    "last_day": "2026-03-08",
    "by": "week",
    "rolled_at": "2026-03-08T12:07:00.000Z",
    "items": [LATENCY_LINE, LATENCY_LINE | {"group": "2026-W10", "p50": 2.0, "p95": 6.0}],
}


def test_latency_is_shown_as_a_table_and_a_chart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    respond(monkeypatch, {"GET reports/latency": LATENCY})
    assert main(["latency", "--by", "week", "--plot"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    row = ["provision", "2026-W09", "20", "3", "4.00", "12.25", "14.00", "5.50", "4.50", "2", "image,", "1", "timeout"]
    assert row in lines
    assert "as of 2026-03-08T12:07:00.000Z; quantiles are within 1 %" in out
    bars = [line.count("█") for line in out.splitlines() if "█" in line]
    assert bars == [19, 60, 9, 29]  # of 60 columns: 4, 12.25, 2 and 6 seconds
    assert [word for word in lines[-1] if "█" not in word] == ["p95", "6.00"]


def test_latency_of_nothing_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    respond(monkeypatch, {"GET reports/latency": LATENCY | {"items": [], "rolled_at": None}})
    assert main(["latency", "--plot"]) == 0
    assert "nothing was rolled up yet: that is done once an hour" in capsys.readouterr().out


def test_latency_asks_for_what_the_options_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    async def request(*arguments: Any, params: Any, **_: Any) -> httpx.Response:
        asked.append((*arguments[1:], params))
        return httpx.Response(200, json=LATENCY)

    monkeypatch.setattr(httpx.AsyncClient, "request", request)
    monkeypatch.setenv("BERTH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BERTH_KEY", "key")
    assert main(["latency", "--kind", "wake", "--from", "2026-03-01", "--to", "2026-03-08", "--json"]) == 0
    query = {"kind": "wake", "from": "2026-03-01", "to": "2026-03-08", "by": "none"}
    assert asked == [("GET", "/api/reports/latency", query)]
    assert json.loads(capsys.readouterr().out) == LATENCY


def test_latency_knows_all_kinds_and_groupings() -> None:
    assert (tuple(LatencyKind), tuple(Grouping)) == (latency.KINDS, latency.GROUPINGS)


@pytest.mark.parametrize(
    ("url", "key", "sentence"),
    [
        ("https://berth.example.com", "", "BERTH_URL is set and BERTH_KEY is not; set both"),
        ("", "key", "BERTH_KEY is set and BERTH_URL is not; set both"),
        ("127.0.0.1:7099", "key", "BERTH_URL is 127.0.0.1:7099; it has to begin with http:// or https://"),
    ],
)
def test_half_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch, url: str, key: str, sentence: str) -> None:
    monkeypatch.setenv("BERTH_URL", url)
    monkeypatch.setenv("BERTH_KEY", key)
    with pytest.raises(TargetError, match=sentence):
        connect()


async def test_a_refused_key_says_which_one_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    async def request(*_: Any, **__: Any) -> httpx.Response:
        return httpx.Response(401)

    monkeypatch.setattr(httpx.AsyncClient, "request", request)
    async with Api("http://127.0.0.1:9", "wrong") as api:
        with pytest.raises(ProblemError, match=r"key is not valid for this request\. Set BERTH_KEY .* master key"):
            await api.call("GET", "clusters")


async def test_registering_prints_warnings_and_keeps_the_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies: list[Any] = []

    async def request(*_: Any, json: Any, **__: Any) -> httpx.Response:
        bodies.append(json)
        numbers = dict.fromkeys(("capacity", "allocated", "free", "starting", "waiting", "waking", "instances"), 0)
        cluster = {"name": "weu-1", "region": "westeurope", "state": "cordoned", **numbers, "breaker": None}
        cluster["max_instances"] = json.get("max_instances")
        return httpx.Response(200, json={**cluster, "uid": "u", "warnings": ["there is no DNS"]})

    monkeypatch.setattr(httpx.AsyncClient, "request", request)
    monkeypatch.setenv("BERTH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BERTH_KEY", "key")
    parser = argparse.ArgumentParser()
    clusters.add_arguments(parser)
    command = "register weu-1 --region westeurope --capacity 5 --context weu-1 --domain weu-1.example.com"
    command += " --gateway routing/tenants/https --gateway-pods mesh"
    for given, limit in (([], "no limit"), (["--state", "open", "--max-instances", "417"], "417")):
        assert await clusters.run(parser.parse_args([*command.split(), *given])) == 0
        printed = capsys.readouterr()
        assert "cordoned" in printed.out
        assert "max instances" in printed.out
        assert limit in printed.out
        assert printed.err == "warning: there is no DNS\n"
    assert [each.get("state") for each in bodies] == [None, "open"]
    gateway = {"namespace": "routing", "name": "tenants", "listener": "https", "pods_namespace": "mesh"}
    assert (bodies[0]["domain"], bodies[0]["gateway"]) == ("weu-1.example.com", gateway)


@pytest.mark.parametrize(
    ("given", "typed"),
    [((), "weu-1"), (("--yes",), None), (("--json", "--yes"), None)],
)
async def test_removing_a_cluster_asks_for_its_name(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: tuple[str, ...],
    typed: str | None,
) -> None:
    sent: list[tuple[str, str]] = []

    async def request(_: Any, method: str, path: str, **__: Any) -> httpx.Response:
        sent.append((method, path))
        return httpx.Response(200, json={"name": "weu-1"})

    def answer(question: str) -> str:
        assert "berth forgets the cluster weu-1" in question
        assert typed is not None, "it was told not to ask"
        return typed

    monkeypatch.setattr(httpx.AsyncClient, "request", request)
    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setenv("BERTH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BERTH_KEY", "key")
    parser = argparse.ArgumentParser()
    clusters.add_arguments(parser)
    assert await clusters.run(parser.parse_args(["remove", "weu-1", *given])) == 0
    assert sent == [("DELETE", "/api/clusters/weu-1")]
    assert ('"name": "weu-1"' if "--json" in given else "removed weu-1") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "why"),
    [("weu\n", "nothing was done"), ("\n", "nothing was done"), ("", "nobody can be asked here: give --yes")],
)
def test_a_cluster_is_not_removed_unless_its_name_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, why: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    monkeypatch.setenv("BERTH_URL", "http://127.0.0.1:9")
    with pytest.raises(NotConfirmedError, match=f"^{why}$"):
        main(["clusters", "remove", "weu-1"])
    assert "berth forgets the cluster weu-1.\nType weu-1 to confirm: " in capsys.readouterr().out


@pytest.mark.parametrize(("redelivery", "shown"), [(0.0, False), (60.0, True)])
def test_up_prints_a_request_for_a_slug_of_its_own(
    capsys: pytest.CaptureFixture[str],
    redelivery: float,
    shown: bool,
) -> None:
    gateway = GatewayProcess("local.berth.localhost", 8443, 8080, 9090, Path("/pki/ca.crt"))
    running = SimpleNamespace(
        api_url="URL",
        function_key="F",
        master_key="M",
        workers=1,
        redelivery=redelivery,
        has_clock=shown,
        control_plane=SimpleNamespace(gateway=gateway),
    )
    stack.welcome(cast("Stack", running), "URL/api/ops/sign-in#secret")
    text = capsys.readouterr().out
    assert '{"slug":"first",' in text
    assert text.index('{"slug":"first",') < text.index("Open its address:") < text.index("/api/sample/signup")
    assert "\n  URL/api/ops/sign-in#secret\n" in text
    assert "acme" not in text
    assert ("\nredelivery     60 s\n" in text) is shown
    assert ("redelivery" in text) is ("./berth clock +8d" in text) is shown
    assert "curl --cacert /pki/ca.crt --connect-to ::127.0.0.1:8443 https://first.local.berth.localhost\n" in text


@pytest.mark.parametrize("gateway", ["tenants", "/tenants", "a/b/c/d", "a//b"])
def test_a_gateway_is_named_with_its_namespace(capsys: pytest.CaptureFixture[str], gateway: str) -> None:
    words = ("clusters", "register", "weu-1", "--region", "x", "--capacity", "1", "--context", "c", "--domain", "a.b")
    assert f"{gateway} is not of the form NAMESPACE/NAME" in usage_error(capsys, [*words, "--gateway", gateway])


def test_an_invalid_request_names_its_fields() -> None:
    errors = [{"pointer": "/slug", "detail": "use letters"}, {"pointer": "", "detail": "it is no JSON"}]
    found = problem_of(Invalid())
    problem = {"type": found.kind.type, "title": found.kind.title, "detail": found.detail, "errors": errors}
    assert str(ProblemError(422, problem)) == "422 The request is not valid\n  /slug: use letters\n  it is no JSON"
    assert str(ProblemError(404, {"title": "Not found", "detail": "there is no x"})) == "404 Not found: there is no x"
    assert "`errors`" not in problem_of(Unfit("cluster one was not registered")).detail
