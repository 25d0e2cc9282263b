"""metrics: names, labels and values, as a scrape shows them."""

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sandmount import __version__
from sandmount.allowlist import Allowlist, BadItem, Denial, Entry, Grant
from sandmount.metrics import Metrics, Snapshot, phases, verb_and_resource

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def shown(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of ours, by name and labels."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("sandmount_") and not sample.name.endswith("_created")
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample; None when there is none."""
    return shown(metrics).get((name, frozenset(labels.items())))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/apis/sandmount.dev/v1alpha1/sandboxes", ("list", "sandboxes")),
        ("WATCH", "/apis/sandmount.dev/v1alpha1/sandboxes", ("watch", "sandboxes")),
        ("GET", "/apis/sandmount.dev/v1alpha1/namespaces/a/sandboxes/b", ("get", "sandboxes")),
        ("DELETE", "/apis/sandmount.dev/v1alpha1/namespaces/a/sandboxes/b", ("delete", "sandboxes")),
        ("PATCH", "/apis/sandmount.dev/v1alpha1/namespaces/a/sandboxes/b/status", ("patch", "sandboxes/status")),
        ("POST", "/api/v1/namespaces/a/pods", ("create", "pods")),
        ("GET", "/api/v1/namespaces/pods/pods/pods", ("get", "pods")),
        ("PATCH", "/api/v1/namespaces/a/pods/b", ("patch", "pods")),
        ("GET", "/api/v1/namespaces/a/events", ("list", "events")),
        ("POST", "/apis/events.k8s.io/v1/namespaces/a/events", ("create", "events")),
        ("GET", "/api/v1/nodes/n", ("get", "nodes")),
        ("WATCH", "/api/v1/namespaces/a/configmaps", ("watch", "configmaps")),
        ("PATCH", "/api/v1/namespaces/a/secrets/b", ("patch", "secrets")),
        ("GET", "/version", ("list", "other")),
        ("GET", "/api/v1/namespaces/a", ("get", "other")),
    ],
)
def test_a_request_is_named_as_in_the_audit_log(method: str, path: str, expected: tuple[str, str]) -> None:
    assert verb_and_resource(method, path) == expected


def test_requests_are_counted_by_verb_resource_and_status() -> None:
    metrics = Metrics()
    metrics.asked("POST", "/api/v1/namespaces/a/pods", 201)
    metrics.asked("POST", "/api/v1/namespaces/b/pods", 201)
    metrics.asked("POST", "/api/v1/namespaces/a/pods", 0)
    count = "sandmount_api_requests_total"
    assert value(metrics, count, verb="create", resource="pods", code="201") == 2
    assert value(metrics, count, verb="create", resource="pods", code="0") == 1


def test_grants_and_denials_are_counted_volume_by_volume() -> None:
    metrics = Metrics()
    metrics.granted([])
    metrics.granted([Grant("a", "/data", "", True), Grant("b", "/data", "", True)])
    metrics.denied([Denial("a", "/etc", "HostPathNotAllowed", "no"), Denial("b", "/srv", "HostPathReadOnly", "no")])
    count = "sandmount_volume_decisions_total"
    assert value(metrics, count, decision="granted", reason="Granted") == 2
    assert value(metrics, count, decision="denied", reason="HostPathNotAllowed") == 1
    assert value(metrics, count, decision="denied", reason="HostPathReadOnly") == 1


def test_the_time_until_ready_is_a_histogram_that_a_clock_behind_cannot_break() -> None:
    metrics = Metrics()
    for seconds in (-0.4, 0.7, 45.0):
        metrics.became_ready(seconds)
    name = "sandmount_sandbox_ready_seconds"
    assert value(metrics, f"{name}_count") == 3
    assert value(metrics, f"{name}_sum") == pytest.approx(45.7)
    assert value(metrics, f"{name}_bucket", le="0.5") == 1
    assert value(metrics, f"{name}_bucket", le="1.0") == 2
    assert value(metrics, f"{name}_bucket", le="60.0") == 3


def test_a_scrape_shows_what_there_is_at_that_moment() -> None:
    metrics = Metrics()
    allowlist = Allowlist("7", (Entry("/data", 1),), (BadItem(2, "bad"), BadItem(3, "bad")))
    now = Snapshot(phases([("a", "Running"), ("a", "Running"), ("b", "")]), 3, 1.5, 9, allowlist, ready=True)
    assert value(metrics, "sandmount_queue_depth") == value(metrics, "sandmount_ready") == 0
    assert value(metrics, "sandmount_allowlist_entries") is None
    metrics.show(lambda: now)
    assert value(metrics, "sandmount_sandboxes", namespace="a", phase="Running") == 2
    assert value(metrics, "sandmount_sandboxes", namespace="b", phase="Pending") == 1
    assert value(metrics, "sandmount_ready") == 1
    assert value(metrics, "sandmount_queue_depth") == 3
    assert value(metrics, "sandmount_queue_oldest_seconds") == 1.5
    assert value(metrics, "sandmount_queue_retries_total") == 9
    assert value(metrics, "sandmount_build_info", version=__version__) == 1
    assert value(metrics, "sandmount_allowlist_info", version="7") == 1
    assert value(metrics, "sandmount_allowlist_entries") == 1
    assert value(metrics, "sandmount_allowlist_bad_items") == 2


@pytest.mark.parametrize(
    ("allowlist", "allows_all", "usable"),
    [
        (Allowlist("1"), 0, 1),
        (Allowlist("1", allows_all=True), 1, 1),
        (Allowlist("1", unusable=("AllowlistMissing", "there is none")), 0, 0),
    ],
)
def test_an_alert_can_tell_a_list_that_allows_all_or_none(allowlist: Allowlist, allows_all: int, usable: int) -> None:
    metrics = Metrics()
    metrics.show(lambda: Snapshot(allowlist=allowlist))
    assert value(metrics, "sandmount_allowlist_allows_all") == allows_all
    assert value(metrics, "sandmount_allowlist_usable") == usable


def test_the_document_lists_every_metric_with_its_labels_and_no_other() -> None:
    metrics = Metrics()
    metrics.asked("POST", "/api/v1/namespaces/a/pods", 201)
    metrics.granted([Grant("a", "/data", "", True)])
    metrics.show(lambda: Snapshot(phases([("a", "Running")]), allowlist=Allowlist("1")))
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    there = {}
    for family in families:
        if family.name.startswith("sandmount_") and not family.name.endswith("_created"):
            name = family.name + ("_total" if family.type == "counter" else "")
            there[name] = {label for s in family.samples for label in s.labels} - {"le"}
    rows = re.findall(r"^\| `(sandmount_\w+)` \|([^|]*)\|", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == there
