"""Alert rules, dashboard and metrics, with a real Prometheus from Debian's packages."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.documents import blocks
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.installation import MANIFESTS, REPOSITORY
from tests.support.kubectl import OPERATOR_NAMESPACE
from tests.support.ports import LOCAL, free_port
from tests.support.prometheus import DASHBOARD, RULES, ask, panels, programs, prometheus, results, rule_file

METRICS = (REPOSITORY / "docs" / "metrics.md").read_text()


@pytest.fixture(scope="module")
def promtool() -> Path:
    """The program that tests rules."""
    return programs() / "promtool"


def alert_of(name: str) -> Json:
    """A rule."""
    rules = yaml.safe_load(RULES.read_text())["spec"]["groups"][0]["rules"]
    return next(r for r in rules if r["alert"] == name)


FIRES = {
    "SandmountAbsent": ([("up", "1x30")], [("sandmount_build_info", "1x30")]),
    "SandmountNotReady": (  # one that crashes before it is ready, beside another cluster's that works
        [('sandmount_ready{cluster="a"}', "0 0 _ _ _ " * 6), ('sandmount_ready{cluster="b"}', "1x30")],
        [('sandmount_ready{cluster="a"}', "0 0 1x28"), ('sandmount_ready{cluster="b"}', "1x20 0x2 1x8")],
    ),
    "SandmountForbidden": (
        [('sandmount_api_requests_total{verb="watch",resource="pods",code="403"}', "0+2x30")],
        [
            ('sandmount_api_requests_total{verb="watch",resource="pods",code="401"}', "0x20 1x10"),
            ('sandmount_api_requests_total{verb="create",resource="pods",code="403"}', "0+9x30"),
        ],
    ),
    "SandmountAllowlistUnusable": ([("sandmount_allowlist_usable", "0x30")], [("sandmount_allowlist_usable", "1x30")]),
    "SandmountAllowlistBadItems": (
        [("sandmount_allowlist_bad_items", "2x30")], [("sandmount_allowlist_bad_items", "0x30")],
    ),
    "SandmountAllowsEveryPath": (
        [("sandmount_allowlist_allows_all", "1x30")], [("sandmount_allowlist_allows_all", "0x30")],
    ),
    "SandmountQueueSlow": (
        [("sandmount_queue_oldest_seconds", "40x30")], [("sandmount_queue_oldest_seconds", "2x30")],
    ),
    "SandmountApiErrors": (
        [
            ('sandmount_api_requests_total{code="201"}', "0+60x30"),
            ('sandmount_api_requests_total{code="503"}', "0+20x30"),
            ('sandmount_api_requests_total{code="0"}', "0+1x30"),
        ],
        [
            ('sandmount_api_requests_total{code="201"}', "0+60x30"),
            ('sandmount_api_requests_total{code="409"}', "0+50x30"),
            ('sandmount_api_requests_total{code="503"}', "0+1x30"),
        ],
    ),
}  # fmt: skip
"""For each alert: what makes it fire within half an hour, and what does not."""


def test_every_alert_has_a_case_and_a_line_that_says_what_to_do() -> None:
    rules = yaml.safe_load(RULES.read_text())["spec"]["groups"][0]["rules"]
    assert {r["alert"] for r in rules} == set(FIRES)
    assert re.findall(r"^\| `(Sandmount\w+)` \|", METRICS, re.MULTILINE) == [r["alert"] for r in rules]
    admins = (REPOSITORY / "docs" / "admins.md").read_text()
    assert set(re.findall(r"`(Sandmount\w+)`", admins)) == set(FIRES)
    assert all({"summary", "description"} == set(r["annotations"]) for r in rules)


@pytest.mark.parametrize("name", FIRES)
@pytest.mark.parametrize("fires", [True, False])
def test_an_alert_fires_when_it_should_and_only_then(promtool: Path, tmp_path: Path, name: str, fires: bool) -> None:
    samples = [{"series": s, "values": v} for s, v in FIRES[name][0 if fires else 1]]
    query = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    case = {
        "rule_files": [str(rule_file(tmp_path))],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": samples,
                "promql_expr_test": [
                    {"expr": query, "eval_time": "25m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}
                ],
            }
        ],
    }
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump(case))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_scrape_configuration_of_the_document(promtool: Path, tmp_path: Path) -> None:
    """But for how it finds the Service: Debian's Prometheus was built without that."""
    shown = yaml.safe_load(blocks(REPOSITORY / "docs" / "metrics.md", "yaml")[0])
    [job] = shown["scrape_configs"]
    service = yaml.safe_load((MANIFESTS / "base" / "service.yaml").read_text())
    [port] = service["spec"]["ports"]
    assert job["relabel_configs"][0]["regex"] == f"{service['metadata']['name']};{port['name']}"
    assert job.pop("kubernetes_sd_configs") == [{"role": "endpoints", "namespaces": {"names": [OPERATOR_NAMESPACE]}}]
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(shown))
    argv = [str(promtool), "check", "config", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def watched(tmp_path: Path, operator: OperatorProcess) -> Iterator[str]:
    """A Prometheus that scrapes an operator at work each second; its address."""
    port = free_port()
    probes = {"SANDMOUNT_HTTP_ADDRESS": LOCAL, "SANDMOUNT_HTTP_PORT": str(port)}
    with operator.running_with(probes), prometheus(port, tmp_path) as base:
        yield base


@pytest.mark.process("Prometheus asks it at an address of this machine")
def test_a_real_prometheus_takes_the_metrics_the_rules_and_what_the_dashboard_asks(
    watched: str, sandboxes: Sandboxes, shared: Path, kube: Kube
) -> None:
    sandboxes.apply("granted", host_volume(shared))
    sandboxes.wait_ready("granted")
    sandboxes.apply("denied", host_volume(Path("/etc")))
    sandboxes.wait_reason("denied", "HostPathNotAllowed")
    here = f'sandmount_sandboxes{{namespace="{sandboxes.namespace}",phase="Running"}}'

    def result(query: str) -> list[Json]:
        return results(watched, "query", query=query)

    wait_until("the Sandbox is seen", lambda: [r["value"][1] for r in result(here)] == ["1"], 60)
    [group] = ask(watched, "rules")["data"]["groups"]
    assert [r["name"] for r in group["rules"] if r["health"] == "err"] == []
    time.sleep(3)  # rates need two scrapes
    queries = [t["expr"] for p in panels(rate_over="30s") for t in p["targets"]]
    examples = re.findall(r"^\| `sandmount_\w+` .*\| `(.+)` \|$", METRICS, re.MULTILINE)
    assert queries and len(examples) == len(re.findall(r"^\| `sandmount_\w+` \|", METRICS, re.MULTILINE))
    queries += examples
    assert [q for q in queries if not result(q)] == []

    kube.set_allowlist("- relative\n")
    wait_until(
        "the bad item is seen", lambda: [r["value"][1] for r in result("sandmount_allowlist_bad_items")] == ["1"], 60
    )
    pending = 'ALERTS{alertname="SandmountAllowlistBadItems",alertstate="pending"}'
    wait_until("the alert is pending", lambda: bool(result(pending)), 30)


def test_the_dashboard_asks_only_for_metrics_that_are_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", METRICS, re.MULTILINE))
    text = " ".join(t["expr"] for p in json.loads(DASHBOARD.read_text())["panels"] for t in p["targets"])
    text += " ".join(alert_of(name)["expr"] for name in FIRES)
    used = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"sandmount_\w+", text)}
    assert used
    assert used <= documented
