"""A small app with one of everything that the host runs. Activities write down each time they run."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from durabletask import task
from durabletask.entities import EntityInstanceId
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

app = df.DFApp()
NOTES = Path(os.environ["NOTES"])

MEETING = asyncio.Barrier(5)

type Steps = Generator[task.Task[Any], Any, Any]


def note(text: str) -> None:
    with NOTES.open("a") as notes:
        notes.write(text + "\n")


def traceparent() -> str:
    """The current span, as it is given to others; empty if there is none."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def die_once(text: str) -> None:
    if f"died {text}" not in NOTES.read_text().splitlines():
        note(f"died {text}")
        os.kill(os.getpid(), signal.SIGKILL)


@app.route(route="echo/{number:int}/{rest?}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    route = dict(sorted(req.route_params.items()))  # which come in no order
    text = f"{req.method} {route} {dict(req.params)} {req.get_body().decode()} {context.function_name}"
    return func.HttpResponse(text, status_code=201)


@app.route(route="shelf/{*rest}", auth_level=func.AuthLevel.ANONYMOUS)
async def shelf(req: func.HttpRequest) -> str:
    return f"shelf {req.route_params.get('rest', '')}"


@app.route(route="shelf/{name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def a_book(req: func.HttpRequest) -> str:
    return "a_book"


@app.route(route="split", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def split(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", headers={"X-Split": "a\r\nX-Injected: b"})


@app.route(route="cookie", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def cookie(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", headers={"Set-Cookie": req.params["cookie"]})


@app.route(route="keyed", methods=["GET"])
async def keyed(req: func.HttpRequest) -> str:
    return "open"


@app.route(route="owner", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
async def owner(req: func.HttpRequest) -> str:
    return "open"


@app.route(route="broken", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def broken(req: func.HttpRequest) -> str:
    raise RuntimeError("on purpose")


@app.route(route="log", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def log(req: func.HttpRequest) -> str:
    logging.getLogger("sample").info("first\nsecond")
    return "logged"


@app.route(route="meet", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def meet(req: func.HttpRequest) -> str:
    await MEETING.wait()
    return "met"


@app.route(route="process", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def process(req: func.HttpRequest) -> str:
    return str(os.getpid())


@app.route(route="die", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def die(req: func.HttpRequest) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@app.route(route="stall/{id}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def stall(req: func.HttpRequest) -> str:
    note(f"stall {req.route_params['id']}")
    time.sleep(60)  # noqa: ASYNC251 - it is to hold up all that this worker does
    return "over"


@app.route(route="trace/{id}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def trace(req: func.HttpRequest) -> str:
    return traceparent()


@app.route(route="start/{name}/{id}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableFunctionsClient) -> str:
    name, instance = req.route_params["name"], req.route_params["id"]
    return await client.schedule_new_orchestration(name, input=req.get_body().decode(), instance_id=instance)


@app.route(route="raise/{id}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def raise_event(req: func.HttpRequest, client: df.DurableFunctionsClient) -> str:
    await client.raise_orchestration_event(req.route_params["id"], "answer", data=req.get_body().decode())
    return "raised"


@app.route(route="terminate/{id}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def terminate(req: func.HttpRequest, client: df.DurableFunctionsClient) -> str:
    await client.terminate_orchestration(req.route_params["id"], output="enough")
    return "terminated"


@app.route(route="state/{id}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def state(req: func.HttpRequest, client: df.DurableFunctionsClient) -> str:
    found = await client.get_orchestration_state(req.route_params["id"])
    return f"{found.runtime_status.name} {found.serialized_output or ''}" if found else "NONE"


@app.timer_trigger(schedule="%TICK%", arg_name="timer")
async def tick(timer: func.TimerRequest) -> None:
    note(f"tick {timer.past_due}")
    note(f"traced tick {traceparent()}")


@app.timer_trigger(schedule="0 30 2 * * *", arg_name="timer")
async def nightly(timer: func.TimerRequest) -> None:
    note(f"nightly {timer.past_due}")


@app.timer_trigger(schedule="0 40 2 * * *", arg_name="timer", use_monitor=False)
async def unmonitored(timer: func.TimerRequest) -> None:
    note(f"unmonitored {timer.past_due}")


@app.timer_trigger(schedule="0,30 50 2 * * *", arg_name="timer")
async def frequent(timer: func.TimerRequest) -> None:
    note(f"frequent {timer.past_due}")


@app.orchestration_trigger(context_name="ctx")
def chain(ctx: task.OrchestrationContext, text: str) -> Steps:
    for letter in "abcd":
        text = yield ctx.call_activity("append", input=text + letter)
    return text


@app.orchestration_trigger(context_name="ctx")
def fan_out(ctx: task.OrchestrationContext, text: str) -> Steps:
    done = yield task.when_all([ctx.call_activity("append", input=f"{text}{number}") for number in range(5)])
    return ",".join(done)


@app.orchestration_trigger(context_name="ctx")
def retrying(ctx: task.OrchestrationContext, text: str) -> Steps:
    policy = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=50), max_number_of_attempts=3)
    try:
        yield ctx.call_activity("fail", input=text, retry_policy=policy)
    except task.TaskFailedError as error:
        return error.details.message
    return "it should have failed"


@app.orchestration_trigger(context_name="ctx")
def asking(ctx: task.OrchestrationContext, text: str) -> Steps:
    timeout = ctx.create_timer(timedelta(seconds=30 if text == "wait" else 0.2))
    answer = ctx.wait_for_external_event("answer")
    first = yield task.when_any([answer, timeout])
    return answer.get_result() if first is answer else "nobody answered"


@app.orchestration_trigger(context_name="ctx")
def parent(ctx: task.OrchestrationContext, text: str) -> Steps:
    return (yield ctx.call_sub_orchestrator("chain", input=text))


@app.orchestration_trigger(context_name="ctx")
def counting(ctx: task.OrchestrationContext, text: str) -> Steps:
    counter = EntityInstanceId("counter", ctx.instance_id)
    ctx.signal_entity(counter, "add", 2)
    yield ctx.call_entity(counter, "add", 3)
    return (yield ctx.call_entity(counter, "get"))


@app.orchestration_trigger(context_name="ctx")
def again(ctx: task.OrchestrationContext, text: str) -> Steps:
    yield ctx.call_activity("append", input=text)
    if len(text) < 3:
        ctx.continue_as_new(text + "x")
    return text


@app.orchestration_trigger(context_name="ctx")
def slow(ctx: task.OrchestrationContext, text: str) -> Steps:
    return (yield ctx.call_activity("crawl", input=text))


@app.orchestration_trigger(context_name="ctx")
def holding(ctx: task.OrchestrationContext, text: str) -> Steps:
    process = yield ctx.call_activity("hold", input=text)
    yield ctx.call_activity("append", input=text)
    return process


@app.orchestration_trigger(context_name="ctx")
def stopping(ctx: task.OrchestrationContext, text: str) -> Steps:
    if f"stop {text}" not in NOTES.read_text():
        note(f"stop {text} {os.getpid()}")
        os.kill(os.getpid(), signal.SIGSTOP)
    yield ctx.call_activity("append", input=text)
    return (yield ctx.wait_for_external_event("answer"))


@app.orchestration_trigger(context_name="ctx")
def dying(ctx: task.OrchestrationContext, text: str) -> Steps:
    die_once(text)
    return text


@app.orchestration_trigger(context_name="ctx")
def calling_the_dying(ctx: task.OrchestrationContext, text: str) -> Steps:
    done = yield task.when_all([ctx.call_activity(name, input=text) for name in ("append", "perish", "append")])
    return ",".join(done)


@app.orchestration_trigger(context_name="ctx")
def asking_the_dying(ctx: task.OrchestrationContext, text: str) -> Steps:
    return (yield ctx.call_entity(EntityInstanceId("mortal", text), "speak"))


@app.orchestration_trigger(context_name="ctx")
def tracing(ctx: task.OrchestrationContext, text: str) -> Steps:
    """Twice the same: an activity whose worker dies the first time, a pause, and a sub-orchestration."""
    yield ctx.call_activity("traced", input=text)
    yield ctx.create_timer(timedelta(milliseconds=50))
    yield ctx.call_sub_orchestrator("traced_below", input=text, instance_id=f"{ctx.instance_id}-{text}")
    if not text.endswith("again"):
        ctx.continue_as_new(f"{text}-again")


@app.orchestration_trigger(context_name="ctx")
def traced_below(ctx: task.OrchestrationContext, text: str) -> Steps:
    try:
        yield ctx.call_activity("fail", input=text)
    except task.TaskFailedError:
        yield ctx.call_activity("traced", input=text)


@app.activity_trigger(input_name="text")
async def traced(text: str) -> str:
    note(f"traced {text} {traceparent()}")
    die_once(text)
    return text


@app.activity_trigger(input_name="text")
async def perish(text: str) -> str:
    die_once(text)
    return text


@app.activity_trigger(input_name="text")
def append(text: str) -> str:
    note(f"append {text}")
    return text


@app.activity_trigger(input_name="text")
async def fail(text: str) -> str:
    note(f"fail {text}")
    raise ValueError(f"cannot do {text}")


@app.activity_trigger(input_name="text")
async def crawl(text: str) -> str:
    note(f"begin {text}")
    await asyncio.sleep(1)
    note(f"end {text}")
    return text


@app.activity_trigger(input_name="text")
async def hold(text: str) -> str:
    note(f"hold {text} {os.getpid()}")
    await asyncio.sleep(0.5)
    note(f"held {text} {os.getpid()}")
    return str(os.getpid())


@app.entity_trigger(context_name="context", entity_name="counter")
def counter(context: df.DurableEntityContext) -> None:
    value = context.get_state(lambda: 0)
    if context.operation_name == "add":
        context.set_state(value + context.get_input())
    context.set_result(context.get_state(lambda: 0))


@app.entity_trigger(context_name="context", entity_name="mortal")
def mortal(context: df.DurableEntityContext) -> None:
    die_once(context.entity_key)
    context.set_result(context.entity_key)
