"""HTTP: report that tenants are used."""

from http import HTTPStatus

import azure.functions as func

from functions.current import container
from functions.http import requests
from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.replying import json_response, slug_of
from functions.http.route import BODY_PROBLEMS, TENANT, USUAL_PROBLEMS, Response, Route
from functions.http.tenant_responses import RecordedActivity, RecordedBatch
from functions.http.validation import read
from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.dormancy import Window


@endpoint(
    Route(
        method="POST",
        path="tenants/{slug}/activity",
        summary="Report that a tenant is used",
        parameters=(TENANT,),
        body=requests.ActivityReport,
        body_required=False,
        responses=(Response(HTTPStatus.ACCEPTED, "The report was taken.", RecordedActivity),),
        problems=(*BODY_PROBLEMS, Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def report_activity(req: func.HttpRequest) -> func.HttpResponse:
    """Report that a tenant is used; activity of the same few minutes is recorded once."""
    slug = slug_of(req)
    body = read(req, requests.ActivityReport) if req.get_body() else requests.ActivityReport()
    recorded = await container().record_activity.record(slug, body.source, body.at)
    return json_response(RecordedActivity(tenant=slug, recorded=recorded), status=202)


@endpoint(
    Route(
        method="POST",
        path="activity",
        summary="Report which tenants are used, and in which time all of them were watched",
        body=requests.ActivityBatch,
        responses=(
            Response(HTTPStatus.ACCEPTED, "The reports were taken, but for those that are rejected.", RecordedBatch),
        ),
        problems=(*BODY_PROBLEMS, *USUAL_PROBLEMS),
    )
)
async def report_activities(req: func.HttpRequest) -> func.HttpResponse:
    """Report which tenants are used, and in which time all of them were watched."""
    body = read(req, requests.ActivityBatch)
    rejections = await container().record_activity.record_all(
        body.source,
        [each.to_domain() for each in body.entries],
        cluster=ClusterName(body.cluster) if body.cluster else NO_CLUSTER,
        watched=body.watched and Window(body.watched.since, body.watched.until),
    )
    return json_response(RecordedBatch.of(rejections), status=202)
