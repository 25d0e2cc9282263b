"""Alert rules, dashboard and metrics, with a real Prometheus from Debian's packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import ClusterError
from tests.cluster.choose import cache_folder
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.installation import MANIFESTS, REPOSITORY
from tests.support.ports import free_port

RULES = MANIFESTS / "monitoring" / "prometheusrule.yaml"
DASHBOARD = REPOSITORY / "docs" / "grafana-dashboard.json"


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder with prometheus and promtool, unpacked and not installed, so that no service starts."""
    if there := shutil.which("prometheus"):
        return Path(there).parent
    target = cache_folder(os.environ) / "bin" / "prometheus"
    if not (target / "usr" / "bin" / "promtool").exists():
        target.mkdir(parents=True, exist_ok=True)
        for argv in (["apt-get", "update"], ["apt-get", "download", "prometheus"]):
            done = subprocess.run(argv, cwd=target, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ClusterError(f"prometheus cannot be had: {done.stderr[-500:]}")
        [package] = target.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=target, check=True)
    return target / "usr" / "bin"


@pytest.fixture
def rule_file(tmp_path: Path) -> Path:
    """The rules as Prometheus reads them."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    return path


def alert_of(name: str) -> Json:
    """A rule."""
    rules = yaml.safe_load(RULES.read_text())["spec"]["groups"][0]["rules"]
    return next(r for r in rules if r["alert"] == name)


FIRES = {
    "SandmountAbsent": ([("up", "1x30")], [("sandmount_build_info", "1x30")]),
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


def test_every_alert_has_a_case() -> None:
    rules = yaml.safe_load(RULES.read_text())["spec"]["groups"][0]["rules"]
    assert {r["alert"] for r in rules} == set(FIRES)
    assert all({"summary", "description"} == set(r["annotations"]) for r in rules)


@pytest.mark.parametrize("name", FIRES)
@pytest.mark.parametrize("fires", [True, False])
def test_an_alert_fires_when_it_should_and_only_then(
    programs: Path, rule_file: Path, tmp_path: Path, name: str, fires: bool
) -> None:
    samples = [{"series": s, "values": v} for s, v in FIRES[name][0 if fires else 1]]
    query = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    case = {
        "rule_files": [str(rule_file)],
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
    done = subprocess.run([programs / "promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def prometheus(programs: Path, rule_file: Path, tmp_path: Path, operator: OperatorProcess) -> Iterator[str]:
    """A Prometheus that scrapes an operator at work each second; its address."""
    port, own = free_port(), free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rule_file)],
        "scrape_configs": [
            {"job_name": "sandmount", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        ],
    }
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    argv = [
        str(programs / "prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    probes = {"SANDMOUNT_HTTP_ADDRESS": "127.0.0.1", "SANDMOUNT_HTTP_PORT": str(port)}
    environ = {**os.environ, "GOMAXPROCS": "1"}
    with operator.running_with(probes), (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        try:
            yield f"http://127.0.0.1:{own}"
        finally:
            running.terminate()
            running.wait(20)


def ask(base: str, path: str, **parameters: str) -> Json:
    """An answer of Prometheus'."""
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
            found: Json = json.load(answer)
            return found
    except OSError:
        return {"data": {}}


@pytest.mark.process("Prometheus asks it at an address of this machine")
def test_a_real_prometheus_takes_the_metrics_the_rules_and_what_the_dashboard_asks(
    prometheus: str, sandboxes: Sandboxes, shared: Path, kube: Kube
) -> None:
    sandboxes.apply("granted", host_volume(shared))
    sandboxes.wait_ready("granted")
    sandboxes.apply("denied", host_volume(Path("/etc")))
    sandboxes.wait_reason("denied", "HostPathNotAllowed")
    here = f'sandmount_sandboxes{{namespace="{sandboxes.namespace}",phase="Running"}}'

    def result(query: str) -> list[Json]:
        return list(ask(prometheus, "query", query=query)["data"].get("result", ()))

    wait_until("the Sandbox is seen", lambda: [r["value"][1] for r in result(here)] == ["1"], 60)
    [group] = ask(prometheus, "rules")["data"]["groups"]
    assert [r["name"] for r in group["rules"] if r["health"] == "err"] == []
    time.sleep(3)  # rates need two scrapes
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [t["expr"].replace("$__rate_interval", "30s") for p in panels for t in p["targets"]]
    assert queries
    assert [q for q in queries if not result(q)] == []

    kube.set_allowlist("- relative\n")
    wait_until(
        "the bad item is seen", lambda: [r["value"][1] for r in result("sandmount_allowlist_bad_items")] == ["1"], 60
    )
    pending = 'ALERTS{alertname="SandmountAllowlistBadItems",alertstate="pending"}'
    wait_until("the alert is pending", lambda: bool(result(pending)), 30)


def test_the_dashboard_asks_only_for_metrics_that_are_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", (REPOSITORY / "docs" / "metrics.md").read_text(), re.MULTILINE))
    text = " ".join(t["expr"] for p in json.loads(DASHBOARD.read_text())["panels"] for t in p["targets"])
    text += " ".join(alert_of(name)["expr"] for name in FIRES)
    used = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"sandmount_\w+", text)}
    assert used
    assert used <= documented
