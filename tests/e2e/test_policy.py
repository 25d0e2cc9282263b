"""The allowlist as the operator reads it, live: what is denied, what starts by itself, what is stopped."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.kubectl import ALLOWLIST_NAME, OPERATOR_NAMESPACE, condition_of


def test_a_denied_sandbox_says_why_and_starts_by_itself_when_the_list_is_extended(
    sandboxes: Sandboxes, kube: Kube, shared: Path, host: Path
) -> None:
    other = host / "other"
    other.mkdir()
    sandboxes.apply("denied", host_volume(other))
    ready = sandboxes.wait_reason("denied", "HostPathNotAllowed")
    assert ready["message"] == (
        f'volume "data": host.path "{other}" is not on the allowlist; allowed here: at or below "{shared}"'
    )
    stalled = condition_of(sandboxes.get("denied"), "Stalled")
    assert stalled is not None and stalled["status"] == "True"
    assert sandboxes.pod("denied") is None
    kube.set_allowlist(f"- {shared}\n- {other}\n")
    found = sandboxes.wait_ready("denied")
    assert [c["type"] for c in found["status"]["conditions"]] == ["Ready", "VolumesAllowed"]


UNUSABLE = {
    "only-bad-items": ("- ../relative\n", "HostPathNotAllowed"),
    "empty-text": ("", "AllowlistNotAList"),
    "mapping": ("all: true", "AllowlistNotAList"),
    "not-yaml": ("- [", "AllowlistUnreadable"),
}
"""Name to the list's text and the reason that a new Sandbox gets."""


def test_a_list_that_cannot_be_used_denies_what_is_new_and_leaves_what_runs(
    sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    sandboxes.apply("old", host_volume(shared))
    sandboxes.wait_ready("old")
    running = sandboxes.pod("old")
    for name, (text, reason) in UNUSABLE.items():
        kube.set_allowlist(text)
        sandboxes.apply(name, host_volume(shared))
        sandboxes.wait_reason(name, reason)
        sandboxes.wait_reason("old", reason, kind="VolumesAllowed")
    no_key = '{"data":{"allowed_host_paths":null}}'
    kube.run("patch", "configmap", ALLOWLIST_NAME, "-n", OPERATOR_NAMESPACE, "--type=merge", "-p", no_key)
    for name in UNUSABLE:
        sandboxes.wait_reason(name, "AllowlistKeyMissing")
        assert sandboxes.pod(name) is None
    sandboxes.wait_ready("old")
    still = sandboxes.pod("old")
    assert running and still and running["metadata"]["uid"] == still["metadata"]["uid"]


def test_without_the_config_map_everything_new_is_denied_and_says_so(
    sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    kube.delete("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)
    sandboxes.apply("new", host_volume(shared))
    sandboxes.wait_reason("new", "AllowlistMissing")
    kube.set_allowlist(f"- {shared}\n")
    sandboxes.wait_ready("new")


@pytest.mark.settings(EMPTY_ALLOWLIST="allow")
def test_an_empty_list_allows_every_path_and_warns(sandboxes: Sandboxes, kube: Kube, shared: Path, host: Path) -> None:
    anywhere = host / "anywhere"
    anywhere.mkdir()
    sandboxes.apply("any", host_volume(anywhere))
    sandboxes.wait_reason("any", "HostPathNotAllowed")
    kube.set_allowlist("[]\n")
    sandboxes.wait_ready("any")
    told = kube.items("events", "-n", OPERATOR_NAMESPACE, "--field-selector=reason=AllowlistAllowsAll")
    assert told and told[-1]["type"] == "Warning" and "EVERY host path" in told[-1]["message"]
    kube.set_allowlist(f"- {shared}\n")
    sandboxes.wait_reason("any", "HostPathNotAllowed")


def test_a_bad_item_is_reported_and_the_good_ones_stay_in_force(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    kube.set_allowlist(f"- {shared}\n- /etc\n")
    sandboxes.apply("good", host_volume(shared))
    sandboxes.apply("bad", host_volume("/etc"))
    sandboxes.wait_ready("good")
    assert "item 2" in sandboxes.wait_reason("bad", "HostPathNotAllowed")["message"]
    told = kube.items("events", "-n", OPERATOR_NAMESPACE, "--field-selector=reason=AllowlistBadItem")
    assert any("/etc" in e["message"] for e in told)


def test_a_running_sandbox_that_is_no_longer_allowed_is_stopped_even_if_it_ignores_sigterm(
    sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; while :; do echo x >> /mnt/data/log; sleep 0.1; done"]
    sandboxes.apply("stubborn", host_volume(shared), entrypoint=stubborn, terminationGracePeriodSeconds=3)
    sandboxes.wait_ready("stubborn")
    kube.set_allowlist("none")
    ready = sandboxes.wait_reason("stubborn", "HostPathNotAllowed")
    assert "no host path is allowed here" in ready["message"]
    wait_until("the Pod is gone", lambda: sandboxes.pod("stubborn") is None, 40)
    size = (shared / "log").stat().st_size
    events = kube.items("events", "-n", sandboxes.namespace, "--field-selector=involvedObject.kind=Sandbox")
    assert [e["reason"] for e in events] == ["HostPathNotAllowed"]
    time.sleep(1)
    assert (shared / "log").stat().st_size == size


def test_the_operator_reads_the_list_only_in_its_own_namespace(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    metadata = {"name": ALLOWLIST_NAME, "namespace": sandboxes.namespace}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"allowed_host_paths": "[]"}})
    sandboxes.apply("tenant", host_volume(shared.parent))
    sandboxes.wait_reason("tenant", "HostPathNotAllowed")


def test_a_user_s_words_in_the_status_widen_nothing(
    sandboxes: Sandboxes, kube: Kube, shared: Path, operator: OperatorProcess
) -> None:
    assert operator.pid
    sandboxes.apply("liar", host_volume(shared.parent))
    sandboxes.wait_reason("liar", "HostPathNotAllowed")
    volumes = [{"name": "data", "root": "/", "readOnly": False}]
    lie = json.dumps({"status": {"phase": "Running", "volumes": volumes, "startedAt": "2020-01-01T00:00:00Z"}})
    kube.run("patch", SANDBOXES, "liar", "-n", sandboxes.namespace, "--subresource=status", "--type=merge", "-p", lie)
    wait_until("the status is mended", lambda: sandboxes.get("liar")["status"]["phase"] == "Failed", 20)
    assert "volumes" not in sandboxes.get("liar")["status"]
    assert sandboxes.pod("liar") is None


def test_a_read_only_entry_says_what_to_write_and_then_grants(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    (shared / "file").write_text("as it was\n")
    kube.set_allowlist(yaml.safe_dump([{"path": str(shared), "readOnly": True}]))
    sandboxes.apply("reader", host_volume(shared))
    ready = sandboxes.wait_reason("reader", "HostPathReadOnly")
    assert ready["message"] == (
        f'volume "data": host.path "{shared}" is read-only here: set readOnly: true on the volume; '
        f'allowed here: at or below "{shared}" (read-only)'
    )
    assert sandboxes.pod("reader") is None
    sandboxes.apply("reader", host_volume(shared, readOnly=True))
    (volume,) = sandboxes.wait_ready("reader")["status"]["volumes"]
    assert (volume["root"], volume["readOnly"]) == (str(shared), True)
    code, said = sandboxes.sh("reader", "cat /mnt/data/file; echo x > /mnt/data/file")
    assert code != 0 and "as it was" in said and "Read-only" in said
    assert (shared / "file").read_text() == "as it was\n"


def test_a_more_specific_entry_takes_over_with_a_new_pod(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    inner = shared / "inner"
    outer: Json = {"path": str(shared), "readOnly": True}
    kube.set_allowlist(yaml.safe_dump([outer]))
    sandboxes.apply("moves", host_volume(inner / "deep", readOnly=True))
    (before,) = sandboxes.wait_ready("moves")["status"]["volumes"]
    assert (before["root"], before["subPath"]) == (str(shared), "inner/deep")
    kube.set_allowlist(yaml.safe_dump([outer, {"path": str(inner)}]))

    def has_moved() -> bool:
        volumes = sandboxes.get("moves")["status"].get("volumes") or [{}]
        return (volumes[0].get("root"), volumes[0].get("subPath")) == (str(inner), "deep")

    wait_until("the Pod mounts through the inner root", has_moved, 60)
    sandboxes.wait_ready("moves")


def test_a_root_is_used_on_the_nodes_that_hold_it(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    key = f"has-{sandboxes.namespace}"
    kube.set_allowlist(yaml.safe_dump([{"path": str(shared), "nodes": {key: "yes"}}]))
    sandboxes.apply("picky", host_volume(shared))
    assert "affinity" in sandboxes.wait_reason("picky", "Unschedulable")["message"]
    with labelled(kube, kube.ready_nodes()[0], key, "yes"):
        sandboxes.wait_ready("picky")


@pytest.mark.settings(LOG_FORMAT="text")
def test_grants_and_denials_are_recorded_once_with_the_list_that_decided(
    sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    def version() -> str:
        metadata = kube.get("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)["metadata"]
        return f"{metadata['uid']}/{metadata['resourceVersion']}"

    first = version()
    sandboxes.apply("audited", host_volume(shared / "x", subPath="y"))
    sandboxes.wait_ready("audited")
    kube.set_allowlist("none")
    sandboxes.wait_reason("audited", "HostPathNotAllowed")
    wait_until("the Pod is gone", lambda: sandboxes.pod("audited") is None, 60)
    wait_until(
        "both decisions are recorded", lambda: len(records(sandboxes, "audited")) == 2, 20, sandboxes.log.read_text
    )
    granted, denied = records(sandboxes, "audited")
    uid, path = sandboxes.get("audited")["metadata"]["uid"], str(shared / "x" / "y")
    for record in (granted, denied):
        assert (record["uid"], record["volume"]) == (uid, "data")
    assert (granted["decision"], granted["path"], granted["entry"], granted["subPath"], granted["list"]) == (
        "granted",
        path,
        str(shared),
        "x/y",
        first,
    )
    assert (denied["decision"], denied["reason"], denied["list"]) == ("denied", "HostPathNotAllowed", version())


@contextmanager
def labelled(kube: Kube, node: str, key: str, value: str) -> Iterator[None]:
    """Inside, the node has this label."""
    kube.run("label", "node", node, f"{key}={value}")
    try:
        yield
    finally:
        kube.run("label", "node", node, f"{key}-")


def records(sandboxes: Sandboxes, name: str) -> list[Json]:
    """The operator's records of decisions on a Sandbox."""
    lines = [line for line in sandboxes.log.read_text().splitlines() if " sandmount.decisions: " in line]
    found = [json.loads(line[line.index("{") :]) for line in lines]
    return [r for r in found if (r["namespace"], r["sandbox"]) == (sandboxes.namespace, name)]
