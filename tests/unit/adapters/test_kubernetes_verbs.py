"""What a request to Kubernetes is called in telemetry: the verb and the resource, never a name."""

import pytest

from shared.adapters.kubernetes.client import APPLY, JSON, MERGE, verb_and_resource


@pytest.mark.parametrize(
    ("method", "path", "media_type", "expected"),
    [
        ("GET", "/api/v1/namespaces", JSON, ("list", "namespaces")),
        ("GET", "/api/v1/namespaces/tenant-x", JSON, ("get", "namespaces")),
        ("GET", "/api/v1/namespaces/tenant-x/pods", JSON, ("list", "pods")),
        ("GET", "/api/v1/namespaces/kube-system/pods?labelSelector=a&limit=1", JSON, ("list", "pods")),
        ("PATCH", "/apis/apps/v1/namespaces/tenant-x/statefulsets/product", APPLY, ("apply", "statefulsets")),
        ("PATCH", "/apis/apps/v1/namespaces/t/statefulsets/product/scale", MERGE, ("patch", "statefulsets/scale")),
        ("DELETE", "/api/v1/namespaces/tenant-x", JSON, ("delete", "namespaces")),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            JSON,
            ("create", "selfsubjectaccessreviews"),
        ),
        ("GET", "/apis/storage.k8s.io/v1/storageclasses", JSON, ("list", "storageclasses")),
        ("GET", "/version", JSON, ("get", "version")),
    ],
)
def test_a_request_is_named_by_verb_and_resource(
    method: str, path: str, media_type: str, expected: tuple[str, str]
) -> None:
    assert verb_and_resource(method, path, media_type) == expected
