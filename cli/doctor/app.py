"""What the app says of itself, its dependencies and its clusters: the same that operators get over HTTP."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

import httpx

from cli.api import Api, Json, ProblemError
from cli.doctor.check import Check, State
from cli.doctor.sign_in import check_sign_in
from functions.http.openapi import VERSION
from shared.application.dependencies import CLUSTER, OK

APP, SETTINGS = "app", "settings and key"
# How the tables, the task hub and a cluster are refused while a role has not arrived.
_ROLES = ("responded 401", "responded 403", "no token", "PERMISSION_DENIED")
_BREAKER = "it responds, but gets no new tenants yet"  # as the app says it; its minute timer ends that


async def check_app(api: Api) -> Sequence[Check]:
    """Return what the app says; without an app that is all there is to say."""
    try:
        await api.call("GET", "healthz")
    except (httpx.HTTPError, ProblemError) as error:
        return [Check(APP, State.MISSING, f"it does not respond ({error}): deploy it, start it, or check its address")]
    checks = [Check(APP, State.OK)]
    try:
        described = await api.call("GET", "openapi.json")
        checks.append(check_version(described["info"]["version"]))
        results = (await api.call("GET", "dependencies"))["checks"]
    except ProblemError as error:
        return [*checks, _refused(error)]
    checks += [Check(SETTINGS, State.OK), *await check_sign_in(api.url), *check_dependencies(results)]
    if results["tables"] == OK:
        clusters = await api.all("clusters")
        if not clusters:
            text = "none is registered: register one with ./berth deploy app, or ./berth clusters register"
            checks.append(Check("clusters", State.MISSING, text))
        for each in clusters:
            probe = await api.call("GET", f"clusters/{each['name']}/probe")
            checks += check_probe(probe)
    return checks


def check_version(deployed: str) -> Check:
    """Return whether the app is of the version of these commands."""
    if deployed == VERSION:
        return Check("version", State.OK, VERSION)
    text = f"the app is berth {deployed}, these commands are {VERSION}: use the same for both"
    return Check("version", State.WARNS, text)


def check_dependencies(results: Mapping[str, str]) -> Iterable[Check]:
    """Yield what each dependency says."""
    for name, result in results.items():
        if result == OK:
            yield Check(name, State.OK)
        elif any(each in result for each in _ROLES):
            yield Check(name, State.WAITS, f"{result}: a role of the app's identity takes minutes to arrive")
        elif result.startswith(_BREAKER):
            yield Check(name, State.WAITS, result)
        else:
            yield Check(name, State.MISSING, result)


def check_probe(probe: Json) -> Iterable[Check]:
    """Yield what a cluster lacks, each as a check of its own, or that it lacks nothing."""
    part = f"{CLUSTER}{probe['cluster']}: probe"
    found = [Check(part, State.MISSING, text) for text in (*probe["missing"], *probe["gateway_problems"])]
    found += [Check(part, State.WARNS, text) for text in probe["warnings"]]
    yield from found or [Check(part, State.OK)]


def _refused(error: ProblemError) -> Check:
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        text = "it starts no work: a setting, the plans or the prices are wrong. Its log says which"
        return Check(SETTINGS, State.MISSING, text)
    return Check(SETTINGS, State.MISSING, str(error))
