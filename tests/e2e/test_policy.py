"""The allowlist as the operator reads it, live: what is denied, what starts by itself, what is stopped."""

import json
import time
from pathlib import Path

from tests.cluster.kubectl import SANDBOXES
from tests.e2e.conftest import Sandboxes, host_volume
from tests.support import Kube, OperatorProcess, wait_until
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
