"""Entries for some namespaces: nobody else uses them, however a namespace is called, and nobody else is told."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.attack.api_support import (
    WRITE,
    script,
    uid_of,
    wait_until_gone,
    wait_until_still,
    wait_until_written,
)
from tests.cluster.kubectl import SANDBOXES
from tests.support import Kube, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.kubectl import condition_of

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")


@dataclass(frozen=True)
class Estate:
    """Roots for one namespace, for two and for a prefix, and Sandboxes in namespaces with names of all kinds."""

    roots: dict[str, Path]
    """Name of an entry to its root: ``one``, ``prefix``, ``two`` and, inside of ``outer``, ``inner``."""
    places: dict[str, Sandboxes]
    """Namespace, without what makes it unique, to its Sandboxes."""


NAMESPACES = ("team", "team2", "tea", "x-team", "ci", "ci-1", "cix", "ci2-1", "x-ci-1")
USES = {"one": {"team"}, "prefix": {"ci-1"}, "inner": {"team"}, "two": {"ci", "tea"}}
"""Entry to the namespaces that may use it."""

DENIED = ("HostPathNotAllowed", "HostPathReadOnly")


@pytest.fixture
def estate(kube: Kube, host: Path, operator: OperatorProcess) -> Iterator[Estate]:
    """All that, for one test."""
    mark = f"t{uuid.uuid4().hex[:6]}"
    roots = {name: host / name for name in ("one", "prefix", "two", "outer")} | {"inner": host / "outer" / "inner"}
    for root in roots.values():
        root.mkdir()
        root.chmod(0o777)
    entries = [
        {"path": str(roots["one"]), "namespaces": [f"{mark}-team"]},
        {"path": str(roots["prefix"]), "namespaces": [f"{mark}-ci-*"]},
        {"path": str(roots["two"]), "namespaces": [f"{mark}-ci", f"{mark}-tea"]},
        {"path": str(roots["outer"]), "readOnly": True},
        {"path": str(roots["inner"]), "namespaces": [f"{mark}-team"]},
    ]
    kube.set_allowlist(yaml.safe_dump(entries))
    places = {name: Sandboxes(kube, f"{mark}-{name}", operator.log) for name in NAMESPACES}
    for place in places.values():
        kube.make_namespace(place.namespace)
    yield Estate(roots, places)
    kube.run("delete", "namespace", *(place.namespace for place in places.values()), "--wait=false")


def test_an_entry_serves_its_namespaces_and_a_denial_shows_nobody_else_s(estate: Estate, kube: Kube) -> None:
    nowhere = "/srv/nowhere"
    places = {name: str(root) for name, root in estate.roots.items() if name in USES} | {"nowhere": nowhere}
    asked = [(name, namespace) for name in places for namespace in NAMESPACES]
    kube.apply(
        estate.places[namespace].manifest(name, host_volume(places[name]), entrypoint=script(WRITE))
        for name, namespace in asked
    )
    reasons = wait_until_decided(estate, kube)
    granted = {(name, namespace) for name, namespace in asked if reasons[namespace, name][0] not in DENIED}
    assert granted == {(name, namespace) for name, users in USES.items() for namespace in users}
    assert {(n, s) for s, place in estate.places.items() for n in pods_of(kube, place)} == granted
    for name in USES:
        wait_until_written(estate.roots[name] / name)
    for namespace, place in estate.places.items():
        not_theirs = {places[name] for name, users in USES.items() if namespace not in users}
        unlisted = reasons[namespace, "nowhere"][1]
        assert not [path for path in not_theirs if path in unlisted], unlisted
        assert not [p.namespace for s, p in estate.places.items() if s != namespace and f'"{p.namespace}' in unlisted]
        for name in {"one", "two", "prefix"} - {n for n, users in USES.items() if namespace in users}:
            words = reasons[namespace, name][1].replace(places[name], nowhere)
            assert words == unlisted, "a path of somebody else's is refused as one that nobody may mount"
        for event in kube.items("events", "-n", place.namespace):
            about = event["involvedObject"]["name"]
            shown = json.dumps(event)
            assert not [path for path in not_theirs - {places.get(about)} if path in shown], shown


def test_an_entry_that_moves_to_another_namespace_stops_whoever_had_it(estate: Estate, kube: Kube) -> None:
    root = estate.roots["one"]
    team, other = estate.places["team"], estate.places["tea"]
    for place in (team, other):
        name = place.namespace
        kube.apply(place.manifest(name, host_volume(root), entrypoint=script(WRITE), terminationGracePeriodSeconds=1))
    team.wait_ready(team.namespace)
    other.wait_reason(other.namespace, "HostPathNotAllowed")
    uid = uid_of(team.pod(team.namespace))
    kube.set_allowlist(yaml.safe_dump([{"path": str(root), "namespaces": [other.namespace]}]))
    wait_until_gone(team, team.namespace, uid)
    wait_until_still(root / team.namespace)
    other.wait_ready(other.namespace)
    wait_until_written(root / other.namespace)


def wait_until_decided(estate: Estate, kube: Kube) -> dict[tuple[str, str], tuple[str, str]]:
    """Namespace, without what makes it unique, and Sandbox, to the reason and message of its condition Ready."""
    found: dict[tuple[str, str], tuple[str, str]] = {}

    def decided() -> bool:
        for namespace, place in estate.places.items():
            for sandbox in kube.items(SANDBOXES, "-n", place.namespace):
                ready = condition_of(sandbox, "Ready")
                if ready and (ready["status"] == "True" or ready["reason"] in DENIED):
                    found[namespace, sandbox["metadata"]["name"]] = ready["reason"], ready["message"]
        return len(found) == (len(USES) + 1) * len(NAMESPACES)

    wait_until("every Sandbox is Ready or denied", decided, 120, lambda: json.dumps(sorted(found)))
    return found


def pods_of(kube: Kube, place: Sandboxes) -> list[str]:
    """Names of the Pods in its namespace."""
    return [pod["metadata"]["name"] for pod in kube.items("pods", "-n", place.namespace)]
