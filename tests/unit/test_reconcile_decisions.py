"""Decisions are recorded once, and another list concerns only those on whom it decides in another way."""

import json
import logging

import pytest

from sandmount.answers import Refused, Transient
from sandmount.settings import OnRevoke, Settings
from tests.unit.builders import KEY, NAMESPACE, Json, host
from tests.unit.world import World, world


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sandmount.decisions")


def records(caplog: pytest.LogCaptureFixture) -> list[Json]:
    """All decisions that were recorded so far."""
    return [json.loads(r.getMessage()) for r in caplog.records if r.name == "sandmount.decisions"]


async def running(w: World, name: str, path: str) -> None:
    w.apply(name, f"uid-{name}", volumes=[host(path)])
    await w.settle()
    w.run_pod((NAMESPACE, name))
    await w.settle()
    w.api.calls.clear()


async def test_a_grant_is_recorded_when_its_pod_was_created(caplog: pytest.LogCaptureFixture) -> None:
    async with world("- {path: /data, nodes: {disk: fast}}") as w:
        w.apply(volumes=[host("/data/x", subPath="y", readOnly=True), {"name": "t", "mountPath": "/t", "emptyDir": {}}])
        await w.settle()
        w.run_pod()
        await w.settle()
    assert records(caplog) == [
        {
            "decision": "granted",
            "namespace": NAMESPACE,
            "sandbox": KEY[1],
            "uid": "sandbox-uid",
            "volume": "data",
            "path": "/data/x/y",
            "entry": "/data",
            "root": "/data",
            "subPath": "x/y",
            "readOnly": True,
            "nodes": {"disk": "fast"},
            "list": "list/1",
        }
    ]


async def test_a_grant_by_the_empty_list_has_no_entry(caplog: pytest.LogCaptureFixture) -> None:
    async with world("[]") as w:
        w.apply(volumes=[host("/any")])
        await w.settle()
    (record,) = records(caplog)
    assert (record["decision"], record["entry"], record["root"]) == ("granted", None, "/any")


async def test_a_denial_is_recorded_once_however_often_it_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    async with world("- /srv") as w:
        w.apply(volumes=[host("/data")])
        await w.settle()
        w.apply(generation=2, image="debian", volumes=[host("/data")])
        await w.settle()
        await w.allow("- /srv\n", version=2)
        await w.settle()
    (record,) = records(caplog)
    assert (record["decision"], record["path"], record["entry"], record["list"]) == ("denied", "/data", None, "list/1")
    assert (record["reason"], record["volume"]) == ("HostPathNotAllowed", "data")
    assert record["message"].startswith('volume "data": host.path "/data" is not on the allowlist')


async def test_a_grant_that_is_lost_and_one_that_comes_back_are_recorded(caplog: pytest.LogCaptureFixture) -> None:
    async with world("- /data") as w:
        await running(w, "s", "/data")
        await w.allow("none", version=2)
        await w.settle()
        w.remove_pod((NAMESPACE, "s"))
        await w.allow("- /data", version=3)
        await w.settle()
    found = [(r["decision"], r["list"]) for r in records(caplog)]
    assert found == [("granted", "list/1"), ("denied", "list/2"), ("granted", "list/3")]


async def test_a_pod_that_the_api_server_refuses_is_no_grant(caplog: pytest.LogCaptureFixture) -> None:
    async with world("- /data") as w:
        w.api.script["create_pod"] = [Refused("quota", final=False)]
        w.apply(volumes=[host("/data")])
        await w.settle()
    assert records(caplog) == []


async def test_another_list_leads_to_a_look_at_those_alone_whom_it_concerns() -> None:
    async with world("- /data\n- /srv") as w:
        for name, path in (("a", "/data/a"), ("b", "/srv/b"), ("c", "/none")):
            await running(w, name, path) if path != "/none" else w.apply(name, f"uid-{name}", volumes=[host(path)])
        await w.settle()
        w.api.calls.clear()
        looked: list[str] = []
        look_at = w.reconciler.look_at

        async def noted(key: tuple[str, str]) -> None:
            looked.append(key[1])
            await look_at(key)

        w.reconciler.look_at = noted  # type: ignore[method-assign]
        await w.allow("- /data\n- /none", version=2)
        await w.settle()
        assert set(looked) == {"b", "c"}
        assert w.conditions((NAMESPACE, "b"))["Stalled"] == ("True", "HostPathNotAllowed")
        assert (NAMESPACE, "c") in w.api.pods


async def test_a_list_that_becomes_firm_stops_what_the_one_with_mistakes_let_run() -> None:
    async with world("- /data") as w:
        await running(w, "s", "/data")
        await w.allow("- /srv\n- relative", version=2)
        await w.settle()
        assert "delete_pod" not in w.writes()
        await w.allow("- /srv", version=3)
        await w.settle()
        assert "delete_pod" in w.writes()


async def test_a_grant_with_other_nodes_is_another_pod() -> None:
    async with world("- {path: /data, nodes: {disk: fast}}") as w:
        await running(w, "s", "/data")
        await w.allow("- {path: /data, nodes: {disk: slow}}", version=2)
        await w.settle()
        assert w.writes()[0] == "delete_pod"
        assert w.told() == ["PodReplaced"]
        w.remove_pod((NAMESPACE, "s"))
        await w.settle()
        terms = w.api.pods[NAMESPACE, "s"]["spec"]["affinity"]["nodeAffinity"]
        (term,) = terms["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert {"key": "disk", "operator": "In", "values": ["slow"]} in term["matchExpressions"]


async def test_a_pod_that_started_while_its_list_was_replaced_has_no_leniency() -> None:
    """Although revocations only warn: what it has was never allowed by a list in force."""
    async with world(settings=Settings(on_revoke=OnRevoke.WARN)) as w:

        async def narrowed_and_started() -> None:
            await w.allow("- /srv", version=2)

        async def started() -> None:
            w.run_pod()

        w.api.meanwhile["create_pod"] = narrowed_and_started
        w.api.meanwhile["delete_pod"] = started
        w.api.script["delete_pod"] = [Transient("busy")]
        w.apply(volumes=[host()])
        await w.settle()
        assert w.writes()[:2] == ["create_pod", "delete_pod"]
        await w.reconciler.look_at(KEY)
        assert w.writes().count("delete_pod") == 2
        assert "deletionTimestamp" in w.api.pods[KEY]["metadata"]


async def test_a_pod_that_admission_changed_is_taken_back_and_not_tried_again_at_once() -> None:
    async with world() as w:
        keep = w.api.keep

        def changed(kind: str, raw: Json) -> Json:
            if kind == "Pod" and len(raw["spec"]["volumes"]) == 1:
                raw["spec"]["volumes"].append({"name": "added", "hostPath": {"path": "/usr/local/driver"}})
            return keep(kind, raw)

        w.api.keep = changed  # type: ignore[method-assign]
        w.apply(volumes=[host()])
        await w.settle()
        assert w.writes() == ["create_pod", "delete_pod", "patch_status", "create_event"]
        assert w.conditions()["Stalled"] == ("True", "PodChanged")
        w.remove_pod()
        await w.settle()
        assert w.asked("create_pod") == 1
