"""A Reconciler with an API server in memory, and the hand that moves what a cluster would move."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

from sandmount.answers import Conflict, Exists, Missing, Unanswered
from sandmount.cluster import PODS, ApiServer, Kind
from sandmount.listfile import load
from sandmount.metrics import Metrics
from sandmount.observe import Key
from sandmount.pace import Pace
from sandmount.reconcile import Reconciler
from sandmount.settings import Settings
from tests.unit.builders import KEY, NOW, SETTINGS, STAMP, Json, config_map, raw_sandbox

WRITES = {"create_pod", "delete_pod", "label_pod", "patch_status", "create_event", "delete_sandbox"}


class FakeApiServer(ApiServer):
    """Pods and Sandboxes in memory. ``script`` holds answers (or errors) that are given instead, in their order."""

    def __init__(self) -> None:
        self.pods: dict[Key, Json] = {}
        self.sandboxes: dict[Key, Json] = {}
        self.events: list[Json] = []
        self.nodes: dict[str, Json] = {}
        self.warnings: list[Json] = []
        """Events about Pods."""
        self.calls: list[tuple[str, Key]] = []
        self.script: dict[str, list[object]] = {}
        self.meanwhile: dict[str, Callable[[], Awaitable[None]]] = {}
        self.last_pod: Json = {}
        """The Pod that went last."""
        self.graces: list[int | None] = []
        self.version = 100
        self.changed: Callable[[str, Json], None] = lambda _kind, _raw: None
        """Told of every change, as a watch is."""

    async def _scripted(self, verb: str, key: Key) -> Any:
        """What the script has for this request; None to answer it truly."""
        self.calls.append((verb, key))
        await asyncio.sleep(0)
        if verb in self.meanwhile:
            await self.meanwhile.pop(verb)()
        answers = self.script.get(verb)
        answer = answers.pop(0) if answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def keep(self, kind: str, raw: Json) -> Json:
        """Stores an object under a new version and tells the watch."""
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        stored = self.pods if kind == "Pod" else self.sandboxes
        stored[raw["metadata"]["namespace"], raw["metadata"]["name"]] = raw
        self.changed(kind, deepcopy(raw))
        return deepcopy(raw)

    async def create_pod(self, body: Json) -> Json | Unanswered:
        key = body["metadata"]["namespace"], body["metadata"]["name"]
        if answer := await self._scripted("create_pod", key):
            return answer  # type: ignore[no-any-return]
        if key in self.pods:
            return Exists()
        body = deepcopy(body)
        body["metadata"]["uid"] = f"pod-{self.version}"
        return self.keep("Pod", body)

    async def get_pod(self, key: Key) -> Json | Unanswered:
        return await self._scripted("get_pod", key) or deepcopy(self.pods.get(key)) or Missing()

    async def delete_pod(self, key: Key, uid: str, grace: int | None) -> Json | Unanswered:
        self.graces.append(grace)
        if answer := await self._scripted("delete_pod", key):
            return answer  # type: ignore[no-any-return]
        if key not in self.pods:
            return Missing()
        if self.pods[key]["metadata"]["uid"] != uid:
            return Conflict()
        self.pods[key]["metadata"]["deletionTimestamp"] = STAMP
        return self.keep("Pod", self.pods[key])

    async def label_pod(self, key: Key, uid: str, labels: Mapping[str, str]) -> Json | Unanswered:
        if answer := await self._scripted("label_pod", key):
            return answer  # type: ignore[no-any-return]
        if key not in self.pods:
            return Missing()
        if self.pods[key]["metadata"]["uid"] != uid:
            return Conflict()
        self.pods[key]["metadata"]["labels"] = (self.pods[key]["metadata"].get("labels") or {}) | dict(labels)
        return self.keep("Pod", self.pods[key])

    async def get_sandbox(self, key: Key) -> Json | Unanswered:
        return await self._scripted("get_sandbox", key) or deepcopy(self.sandboxes.get(key)) or Missing()

    async def patch_status(self, key: Key, uid: str, resource_version: str, status: Json) -> Json | Unanswered:
        if answer := await self._scripted("patch_status", key):
            return answer  # type: ignore[no-any-return]
        raw = self.sandboxes.get(key)
        if raw is None:
            return Missing()
        if (raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]) != (uid, resource_version):
            return Conflict()
        merged = raw.get("status", {}) | status
        raw["status"] = {k: v for k, v in merged.items() if v is not None}
        return self.keep("Sandbox", raw)

    async def create_event(self, namespace: str, body: Json) -> Json | Unanswered:
        if answer := await self._scripted("create_event", (namespace, body["regarding"]["name"])):
            return answer  # type: ignore[no-any-return]
        self.events.append(body)
        return body

    async def delete_sandbox(self, key: Key, uid: str, resource_version: str) -> Json | Unanswered:
        if answer := await self._scripted("delete_sandbox", key):
            return answer  # type: ignore[no-any-return]
        raw = self.sandboxes.get(key)
        if raw is None:
            return Missing()
        if (raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]) != (uid, resource_version):
            return Conflict()
        if raw["metadata"].get("finalizers"):
            raw["metadata"]["deletionTimestamp"] = STAMP
            return self.keep("Sandbox", raw)
        del self.sandboxes[key]
        return {"kind": "Status", "status": "Success"}

    async def get_node(self, name: str) -> Json | Unanswered:
        return await self._scripted("get_node", ("", name)) or deepcopy(self.nodes.get(name)) or Missing()

    async def list_pod_warnings(self, namespace: str) -> list[Json]:
        return await self._scripted("list_pod_warnings", (namespace, "")) or self.warnings

    async def list_all(self, kind: Kind) -> AsyncGenerator[Json | Missing, None]:
        stored = self.pods if kind is PODS else self.sandboxes
        found = list(stored.values())
        yield {"metadata": {"resourceVersion": str(self.version)}, "items": deepcopy(found)}

    async def watch_all(self, kind: Kind, since: str) -> AsyncGenerator[Json, None]:
        """One that brings nothing: tests say what the watches bring."""
        await asyncio.Event().wait()
        yield {}


class World:
    """A cluster as one Reconciler sees it."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.api = FakeApiServer()
        self.now = NOW
        self.reconciler = Reconciler(self.api, settings, Metrics(), lambda: self.now, Pace(in_a_row=sys.maxsize))
        self.api.changed = self.watch
        self.watching = True

    def watch(self, kind: str, raw: Json, event: str | None = "MODIFIED") -> None:
        """What the watches tell the operator: Pods only when they carry our label."""
        if not self.watching:
            return
        if kind == "Sandbox":
            self.reconciler.known.saw_sandbox(event, raw)
        elif "sandmount.dev/sandbox" in (raw["metadata"].get("labels") or {}):
            self.reconciler.known.saw_pod(event, raw)

    async def allow(self, text: str | None, version: int = 1) -> None:
        """The allowlist's ConfigMap becomes this."""
        found = config_map(text, version)
        await self.reconciler.saw_allowlist(load(found, self.settings.empty_allowlist), found)

    def apply(self, name: str = KEY[1], uid: str = "sandbox-uid", generation: int = 1, **spec: Any) -> None:
        """``kubectl apply`` of a Sandbox."""
        known = self.api.sandboxes.get((KEY[0], name), {}).get("status")
        metadata = {"name": name, "uid": uid, "generation": generation}
        self.api.keep("Sandbox", raw_sandbox(known, metadata, **spec))

    def change_pod(self, key: Key = KEY, metadata: Json | None = None, **status: Any) -> None:
        """The kubelet, or somebody, changes a Pod."""
        raw = self.api.pods[key]
        raw["metadata"] |= metadata or {}
        raw["status"] = raw.get("status", {}) | status
        self.api.keep("Pod", raw)

    def run_pod(self, key: Key = KEY) -> None:
        """The kubelet starts a Pod, and it is ready."""
        self.change_pod(
            key,
            phase="Running",
            podIP="10.0.0.7",
            conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": STAMP}],
            containerStatuses=[{"name": "sandbox", "state": {"running": {}}}],
        )

    def remove_pod(self, key: Key = KEY) -> None:
        """A Pod is gone."""
        self.api.last_pod = self.api.pods.pop(key)
        self.watch("Pod", self._gone(self.api.last_pod), "DELETED")

    def remove_sandbox(self, key: Key = KEY) -> None:
        """A Sandbox is gone."""
        self.watch("Sandbox", self._gone(self.api.sandboxes.pop(key)), "DELETED")

    def _gone(self, raw: Json) -> Json:
        self.api.version += 1
        return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self.api.version)}}

    def remove_label(self, labels: Json) -> None:
        """Somebody takes our label off a Pod: the watch says that it is gone, and it is not."""
        raw = self.api.pods[KEY]
        gone = self._gone({**raw, "metadata": {**raw["metadata"], "labels": labels}})
        raw["metadata"] |= {"labels": {}, "resourceVersion": gone["metadata"]["resourceVersion"]}  # of the same change
        self.watch("Pod", gone, "DELETED")

    def foreign_pod(self, **metadata: Any) -> None:
        """Somebody else's Pod with the Sandbox's name."""
        found = {"namespace": KEY[0], "name": KEY[1], "uid": "foreign", **metadata}
        self.api.keep("Pod", {"kind": "Pod", "metadata": found})

    def asked(self, verb: str) -> int:
        """How often the API server was asked for this."""
        return Counter(v for v, _ in self.api.calls)[verb]

    def writes(self) -> list[str]:
        """All writes, in their order."""
        return [verb for verb, _ in self.api.calls if verb in WRITES]

    def status(self, key: Key = KEY) -> Json:
        """The stored status."""
        found: Json = self.api.sandboxes[key]["status"]
        return found

    def conditions(self, key: Key = KEY) -> dict[str, tuple[str, str]]:
        """Status and reason of each stored condition."""
        return {c["type"]: (c["status"], c["reason"]) for c in self.status(key).get("conditions", ())}

    def told(self) -> list[str]:
        """Reasons of all Events, in their order."""
        return [e["reason"] for e in self.api.events]

    async def settle(self) -> None:
        """Until nothing is left to do now; what is due later stays undone."""
        for _ in range(100):
            await asyncio.sleep(0)


@asynccontextmanager
async def world(
    allowed: str | None = "- /data", settings: Settings = SETTINGS, workers: int = 1
) -> AsyncIterator[World]:
    """A World with workers; without an allowlist when ``allowed`` is None."""
    made = World(settings)
    if allowed is not None:
        await made.allow(allowed)
        made.api.calls.clear()
    tasks = [asyncio.create_task(made.reconciler.work()) for _ in range(workers)]
    try:
        yield made
        assert not any(t.done() for t in tasks), "a worker ended"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    """Waits until something holds, however slow the machine is."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what is waited for is another module's timer
            await asyncio.sleep(0.005)
