"""What kubelet and Prometheus are told by an operator at work, and its log as JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import Cluster
from tests.support import OperatorProcess, wait_until
from tests.support.audit import AuditLog
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.ports import LOCAL, free_port

pytestmark = [
    pytest.mark.usefixtures("no_traceback"),
    pytest.mark.process("asks it at an address of this machine; test_in_cluster.py asks the Pod"),
]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def base(operator: OperatorProcess) -> Iterator[str]:
    """Where an operator that was started anew answers; afterwards it runs as before."""
    port = free_port()
    chosen = {"HTTP_ADDRESS": LOCAL, "HTTP_PORT": str(port), "LOG_FORMAT": "json"}
    with operator.running_with({f"SANDMOUNT_{name}": value for name, value in chosen.items()}):
        yield f"http://{LOCAL}:{port}"


def ask(url: str) -> tuple[int, str]:
    """Status and text; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def scrape(base: str) -> Samples:
    """Every sample by name and labels."""
    status, text = ask(f"{base}/metrics")
    assert status == 200, text
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample, 0 when there is none."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def requests(samples: Samples) -> Counter[tuple[str, str, str]]:
    """Writes that were counted, by verb, resource and code."""
    found: Counter[tuple[str, str, str]] = Counter()
    for (name, labels), count in samples.items():
        if name == "sandmount_api_requests_total":
            by_name = dict(labels)
            if by_name["verb"] in {"create", "patch", "delete"}:
                found[by_name["verb"], by_name["resource"], by_name["code"]] = int(count)
    return found


def test_a_scrape_shows_what_was_done_and_what_there_is(
    base: str, sandboxes: Sandboxes, shared: Path, operator: OperatorProcess, cluster: Cluster
) -> None:
    log, before = AuditLog.of(cluster), requests(scrape(base))
    begun = operator.log.stat().st_size
    sandboxes.apply("granted", host_volume(shared))
    sandboxes.wait_ready("granted")
    sandboxes.apply("denied", host_volume(Path("/etc")))
    sandboxes.wait_reason("denied", "HostPathNotAllowed")

    here = sandboxes.namespace
    wait_until(
        "both are counted",
        lambda: value(scrape(base), "sandmount_sandboxes", namespace=here, phase="Failed") == 1,
        10,
    )
    now = scrape(base)
    assert value(now, "sandmount_sandboxes", namespace=here, phase="Running") == 1
    assert value(now, "sandmount_volume_decisions_total", decision="granted", reason="Granted") >= 1
    assert value(now, "sandmount_volume_decisions_total", decision="denied", reason="HostPathNotAllowed") >= 1
    assert value(now, "sandmount_sandbox_ready_seconds_count") >= 1
    assert value(now, "sandmount_allowlist_entries") == 1
    assert value(now, "sandmount_allowlist_allows_all") == 0
    assert value(now, "sandmount_queue_depth") == 0

    def all_are_counted() -> bool:
        seen = Counter((w.verb, w.what, str(w.code)) for w in log.requests(operator.user) if w.is_write)
        return requests(scrape(base)) - before == seen

    wait_until("every write in the audit log is counted", all_are_counted, 15)

    with operator.log.open("rb") as file:
        file.seek(begun)
        lines = [json.loads(line) for line in file.read().decode().splitlines()]
    decisions = [line["decision"] for line in lines if line["logger"] == "sandmount.decisions"]
    told = {(d["sandbox"], d["decision"], d["path"]) for d in decisions if d["namespace"] == here}
    assert told == {("granted", "granted", str(shared)), ("denied", "denied", "/etc")}


def test_it_is_alive_and_not_ready_until_there_is_a_list_to_decide_by(base: str, operator: OperatorProcess) -> None:
    """In a namespace where it has no rights."""
    operator.kill()
    operator.settings["SANDMOUNT_NAMESPACE"] = "elsewhere"
    operator.start()
    wait_until("it says what it waits for", lambda: ask(f"{base}/readyz")[1] == "waiting for the allowlist\n", 60)
    assert ask(f"{base}/readyz")[0] == 503
    assert ask(f"{base}/healthz") == (200, "ok\n")
