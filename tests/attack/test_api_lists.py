"""Allowlists of every malformed kind: each decides as it should, none breaks the operator, none stops what runs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import Volume
from sandmount.listfile import parse
from sandmount.settings import EmptyAllowlist
from tests.attack.api_lists import GRANTED, KINDS, LIVE, MISSING, Kind, filled_in
from tests.attack.api_support import (
    WRITE,
    allowlist,
    script,
    uid_of,
    wait_until_gone,
    wait_until_still,
    writes,
)
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.kubectl import ALLOWLIST_NAME, MANAGER, OPERATOR_NAMESPACE, tail

pytest_plugins = ["tests.attack.api_fixtures"]

NAMESPACE = "test-1"
ROOT, KEPT = "/srv/parent/root", "/srv/kept"
ON_CLUSTER = pytest.mark.usefixtures("no_traceback")


def decided(found: Allowlist, path: str) -> str:
    """``granted``, or the reason of the denial of a writable volume."""
    decision = found.decide(NAMESPACE, Volume.model_validate(host_volume(path)))
    assert isinstance(decision, Grant | Denial)
    return GRANTED if isinstance(decision, Grant) else decision.reason


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.config_map is None])
def test_a_list_decides_as_it_should_and_keeps_what_runs(name: str) -> None:
    found = parse(filled_in(KINDS[name].text, ROOT, KEPT), "version", EmptyAllowlist.ALLOW)
    assert decided(found, ROOT) == KINDS[name].expected
    assert decided(found, KEPT) == GRANTED or not found.firm
    problems = [found.unusable[1]] if found.unusable else [str(b) for b in found.bad_items]
    assert all(len(problem) < 600 and problem.isprintable() for problem in problems), problems


def load(kube: Kube, kind: Kind | None, root: Path, kept: Path) -> str:
    """Put a list in place, None for no ConfigMap at all. Returns its version, as the operator's log has it."""
    if kind is None:
        kube.delete("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)
        return "absent"
    made = allowlist(filled_in(kind.text, str(root), str(kept)))
    if kind.config_map is not None:
        del made["data"]
        made |= kind.config_map
    how = ("apply", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "-o", "json", "-f", "-")
    metadata = json.loads(kube.feed(json.dumps(made), *how))["metadata"]
    return f"{metadata['uid']}/{metadata['resourceVersion']}"


def is_loaded(log: Path, version: str) -> bool:
    """Whether the operator said that it loaded this version of the list."""
    return f"version: {version}\n" in log.read_text()


def decision_on(log: Path, namespace: str, name: str) -> Json | None:
    """The operator's record of its first decision on a Sandbox."""
    about = f'"namespace": "{namespace}", "sandbox": "{name}"'
    line = next(
        (line for line in log.read_text().splitlines() if about in line and "sandmount.decisions" in line), None
    )
    return json.loads(line[line.index("{") :]) if line else None


@ON_CLUSTER
@pytest.mark.settings(LOG_FORMAT="text", EMPTY_ALLOWLIST="allow")
def test_the_operator_decides_as_the_list_says_and_leaves_what_runs(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess
) -> None:
    root = shared.parent / "root"
    root.mkdir()
    sandboxes.apply("kept", host_volume(shared), entrypoint=script(WRITE))
    sandboxes.wait_ready("kept")
    uid = uid_of(sandboxes.pod("kept"))
    log, kube = operator.log, sandboxes.kube
    for name, kind in ({name: KINDS[name] for name in LIVE} | {"no-config-map": None}).items():
        version = load(kube, kind, root, shared)
        wait_until(f"list {name} is loaded", partial(is_loaded, log, version), 60)
        kube.apply(sandboxes.manifest(name, host_volume(root), terminationGracePeriodSeconds=1))
        found = wait_until(
            f"{name} is decided on",
            partial(decision_on, log, sandboxes.namespace, name),
            30,
            lambda: "\n".join(tail(log)),
        )
        expected = kind.expected if kind else MISSING
        assert (found["decision"] if expected == GRANTED else found["reason"]) == expected, (name, found)
        assert found["list"] == version, (name, found)
        kube.run("delete", SANDBOXES, name, "-n", sandboxes.namespace, "--wait=false")
    assert uid_of(sandboxes.pod("kept")) == uid
    assert writes(shared / "kept")


@pytest.mark.parametrize("text", ["none", " none \n", "'none'", "# nothing\nnone\n", '"none"', "---\nnone\n..."])
def test_none_denies_everything_and_means_it(text: str) -> None:
    for empty in EmptyAllowlist:
        found = parse(text, "version", empty)
        assert found.firm
        assert decided(found, ROOT) == "HostPathNotAllowed"


@ON_CLUSTER
def test_an_empty_list_stops_what_runs_where_it_does_not_allow_everything(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess
) -> None:
    with operator.running_with({"SANDMOUNT_EMPTY_ALLOWLIST": "deny"}):
        sandboxes.apply("runs", host_volume(shared), entrypoint=script(WRITE))
        sandboxes.wait_ready("runs")
        uid = uid_of(sandboxes.pod("runs"))
        sandboxes.kube.set_allowlist("[]")
        sandboxes.wait_reason("runs", "HostPathNotAllowed")
        wait_until_gone(sandboxes, "runs", uid)
        wait_until_still(shared / "runs")
