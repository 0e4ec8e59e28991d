"""What Azure Monitor's agent is told to scrape on AKS, in a real Prometheus.

This Prometheus cannot ask Kubernetes which pods there are: the test gives it the targets that it would find.
"""

from typing import Any

import httpx
import yaml

from local.kubernetes.objects import INFRA
from local.ports import Ports
from local.processes import Processes
from shared.settings import ActivitySettings
from tests.support.polling import until
from tests.support.prometheus import run_prometheus

META = "__meta_kubernetes"
GATEWAY = {f"{META}_pod_labelpresent_gateway_networking_k8s_io_gateway_name": "true"}


def scrape_config() -> dict[str, Any]:
    maps = yaml.safe_load_all((INFRA / "gateway-metrics.yaml").read_text())
    [found] = [each["data"]["prometheus-config"] for each in maps if "prometheus-config" in each["data"]]
    return yaml.safe_load(found)


def found(name: str, ip: str, ports: tuple[int, ...], labels: dict[str, str], phase: str = "Running") -> list[Any]:
    """Return the targets of a pod: one for each port that it declares."""
    pod = {f"{META}_namespace": "gateway", f"{META}_pod_name": name, f"{META}_pod_ip": ip, f"{META}_pod_phase": phase}
    return [{"targets": [f"{ip}:{port}"], "labels": pod | labels} for port in ports]


def test_what_berth_asks_for_is_kept_and_little_else() -> None:
    config = scrape_config()
    [job] = config["scrape_configs"]
    assert "gateway" in job["job_name"]
    assert config["global"]["scrape_interval"] == "60s"
    [kept] = [each["regex"] for each in job["metric_relabel_configs"]]
    assert set(kept.split("|")) == {"istio_requests_total", "envoy_server_uptime"}
    asked = ActivitySettings().activity_query + ActivitySettings().coverage_query
    assert all(name in asked for name in kept.split("|"))


async def test_each_pod_of_a_gateway_is_scraped_once(processes: Processes, ports: Ports) -> None:
    config = scrape_config()
    [job] = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = [
        *found("first", "10.244.0.5", (15020, 15021, 15090), GATEWAY),
        *found("second", "10.244.1.5", (15020, 15021, 15090), GATEWAY),
        *found("ended", "10.244.1.6", (15020,), GATEWAY, phase="Failed"),
        *found("other", "10.244.1.7", (8080,), {}),
    ]
    async with run_prometheus(processes, ports, config) as server, httpx.AsyncClient(trust_env=False) as http:

        async def targets() -> list[dict[str, Any]]:
            response = await http.get(f"{server.url}/api/v1/targets", params={"state": "active"})
            return response.json()["data"]["activeTargets"]

        async def are_known() -> bool:
            return bool(await targets())

        await until(are_known, seconds=30)
        known = {each["labels"]["pod"]: each for each in await targets()}
    assert len(known) == 2
    assert known["first"]["scrapeUrl"] == "http://10.244.0.5:15020/stats/prometheus"
    labels = {"job": "tenants-gateway", "instance": "10.244.1.5:15020", "namespace": "gateway", "pod": "second"}
    assert known["second"]["labels"] == labels
