"""The cluster that the machine plays with: what is done there, what is remembered of that, and the wait for quiet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.cluster.local.cluster import LocalCluster
from tests.statemachine.client import NAMESPACE, PODS, SANDBOXES, Answer, Api, Door
from tests.statemachine.lists import WIDE, Listing
from tests.statemachine.model import Past, Seen, wanted
from tests.statemachine.verdict import kind_of, misfit
from tests.statemachine.watcher import Watcher
from tests.support import Json, OperatorProcess
from tests.support.audit import AuditLog, Request, counted
from tests.support.kubectl import ALLOWLIST_NAME, OPERATOR_NAMESPACE

CONFIG_MAPS = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps"
CONFIG_MAP = f"{CONFIG_MAPS}/{ALLOWLIST_NAME}"
PATIENCE = 60.0
"""Seconds for everything to become as it must be; much more than it needs on a busy machine."""
QUIET_SECONDS = 1.3
"""Longer than the operator keeps an in-between status back."""
WRITES = {
    "create pods",
    "delete pods",
    "patch pods",
    "delete sandboxes",
    "patch sandboxes/status",
    "create events",
}
"""All that an operator ever does."""
TRIES = 6
"""Quiet times that may be disturbed by what was still under way."""
POLL_SECONDS = 0.05


class SameOperator(OperatorProcess):
    """An operator that keeps its credentials when it is started again: two kubectl fewer."""

    def _write_kubeconfig(self) -> None:
        if not self.kubeconfig.exists():
            super()._write_kubeconfig()


class World:
    """One cluster with one operator."""

    def __init__(self, cluster: LocalCluster, operator: OperatorProcess, *, shrinks: bool) -> None:
        self.operator = operator
        self.shrinks = shrinks
        """Whether a history that went wrong is tried again, and shorter ones."""
        self.api = Api(Door.of(cluster.kubeconfig))
        self.audit = AuditLog.of(cluster)
        self.watcher = Watcher(self.api.door, self.api, time.monotonic)
        self.counts: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        """What there was at quiet times."""
        self.written: Counter[str] = Counter()
        self.lengths: list[int] = []
        """Steps of each history until now."""
        self.pasts: dict[str, Past] = {}
        self.listing = WIDE
        self.story: list[str] = []
        self.why = ""
        """What was found to be wrong."""
        self.waited = 0.0
        self._log_read = self._log_begun = 0
        self._begun = time.monotonic()
        self.set_list(WIDE)

    def close(self) -> None:
        """End all connections."""
        self.watcher.close()
        self.api.close()

    def begin(self) -> None:
        """A new history."""
        self.story.clear()
        self.why = "" if self.shrinks else self.why
        self.pasts.clear()
        self.watcher.forget()
        self._begun = time.monotonic()
        self._log_begun = self.operator.log.stat().st_size

    def tell(self, what: str, answer: Answer | str = "") -> None:
        """A line of the history."""
        self.counts[what.split(maxsplit=1)[0]] += 1
        self.story.append(f"{time.monotonic() - self._begun:7.3f} {what} {answer}".rstrip())

    def ask(self, what: str, method: str, path: str, body: Json | None = None) -> Answer:
        """One step of the history."""
        answer = self.api.ask(method, path, body)
        self.tell(what, answer)
        return answer

    def create(self, name: str, spec: Json) -> None:
        """Create a Sandbox; one of that name that is on its way out is waited for."""
        body = {
            "apiVersion": "sandmount.dev/v1alpha1",
            "kind": "Sandbox",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        deadline = time.monotonic() + PATIENCE
        while (answer := self.api.ask("POST", SANDBOXES, body)).code == 409:
            if time.monotonic() > deadline:
                raise self.wrong(f"{name} was deleted, and is still there")
            time.sleep(POLL_SECONDS)
        self.tell(f"create {name} {spec}", answer)
        if not answer.ok:
            raise self.wrong(f"{name} cannot be created: {answer}")
        metadata = answer.body["metadata"]
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        self.pasts[name] = Past(metadata["uid"], created, spec=answer.body["spec"])

    def edit(self, name: str, **fields: Any) -> None:
        """Change fields of a spec; None takes one away."""
        answer = self.ask(f"edit {name} {fields}", "PATCH", f"{SANDBOXES}/{name}", {"spec": fields})
        if answer.ok and name in self.pasts:
            self.pasts[name].change(answer.body["spec"], datetime.now(UTC))

    def set_list(self, listing: Listing) -> None:
        """Put another list in force."""
        self._note_list(listing)
        self.listing = listing
        if listing.data is None:
            self.ask("list absent", "DELETE", CONFIG_MAP)
            _, revision = self.api.list(CONFIG_MAPS)
        else:
            body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ALLOWLIST_NAME}}
            body["data"] = listing.data
            answer = self.ask(f"list {listing.name}", "PUT", CONFIG_MAP, body)
            if answer.code == 404:
                answer = self.ask(f"list {listing.name}", "POST", CONFIG_MAPS, body)
            if not answer.ok:
                raise self.wrong(f"the list cannot be set: {answer}")
            revision = int(answer.body["metadata"]["resourceVersion"])
        self.watcher.set_list(revision, listing)

    def _note_list(self, listing: Listing) -> None:
        """Whom a new list disturbs: nobody who is granted the same, and nobody who runs while it has mistakes."""
        for past in self.pasts.values():
            now, then = ([li.decide(w) for w in wanted(past.spec)] for li in (listing, self.listing))
            denied = any(isinstance(d, str) for d in now)
            if now != then and not (listing.lenient and denied):
                past.calm = False

    def running_pod(self, name: str, patience: float) -> Json | None:
        """The Pod of that name if it runs, or is there and comes to run within so many seconds."""
        deadline = time.monotonic() + patience
        while (pod := self.api.find(f"{PODS}/{name}")) and time.monotonic() < deadline:
            if pod["status"].get("phase") != "Pending":
                break
            time.sleep(POLL_SECONDS)
        runs = pod and pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        return pod if runs else None

    def settle(self) -> None:
        """Wait until all is as it must be, and stays so without a write of the operator's."""
        self.tell("settle")
        if self.operator.pid is None:
            self.operator.start()
        for _ in range(TRIES):
            begun = time.monotonic()
            waiting = self._wait_until_right()
            self.waited += time.monotonic() - begun
            self._count_writes()
            time.sleep(QUIET_SECONDS)
            writes = [w for w in self.writes() if w.name not in waiting]
            if not writes:
                break
            self.tell("disturbed", counted(writes))
        else:
            raise self.wrong(f"the operator does not come to rest: {counted(writes)}")
        if faults := self.faults(waiting):
            raise self.wrong("what was right did not stay so:\n" + "\n".join(faults))
        self._wait_until_right()
        self._check_what_was_seen()
        self._remember_pods()

    def _count_writes(self) -> None:
        """Adds up what the operator has written until now, and begins anew; it may write only what it is there for."""
        writes = self.writes()
        self.audit.begin()
        self.written.update(f"{w.verb} {w.what} {w.code}" for w in writes)
        refused = [
            w for w in writes if 400 <= w.code < 500 and w.code not in (404, 409)
        ]  # 504: it was killed meanwhile
        if odd := [w for w in writes if f"{w.verb} {w.what}" not in WRITES] + refused:
            raise self.wrong(f"the operator has written what it never should: {', '.join(map(str, odd))}")

    def writes(self) -> list[Request]:
        """What the operator wrote about our namespace, or the list, since the quiet time began."""
        return [r for r in self.audit.requests() if r.is_write]

    def faults(self, waiting: set[str]) -> list[str]:
        """What is not as it must be now; whoever waited may just have moved on, and be seen halfway."""
        seen = {name: it for name, it in self.look().items() if name not in waiting}
        return [f"{name}: {found}" for name, it in seen.items() if (found := misfit(it))]

    def look(self) -> dict[str, Seen]:
        """All Sandboxes and Pods as they are; a Pod without a Sandbox of ours is a fault of nobody's name."""
        sandboxes, _ = self.api.list(SANDBOXES)
        pods, _ = self.api.list(PODS)
        self.watcher.judge()
        by_name = {s["metadata"]["name"]: s for s in sandboxes}
        pod_of = {p["metadata"]["name"]: p for p in pods}
        now, doubtful = datetime.now(UTC), frozenset(self.watcher.doubtful)
        found, ends = {}, self.watcher.ends()
        for name in by_name.keys() | pod_of.keys() | self.pasts.keys():
            past = self.pasts.get(name) or Past("", now, removed=True)
            sandbox = by_name.get(name)
            ended = ends[sandbox["metadata"]["uid"]] if sandbox else 0
            found[name] = Seen(sandbox, pod_of.get(name), past, self.listing, now, doubtful, ended)
        return found

    def _wait_until_right(self) -> set[str]:
        """Returns the names of those that wait for something that comes by itself, later."""
        deadline = time.monotonic() + PATIENCE
        faults: list[str] = []
        while time.monotonic() < deadline:
            found = self.look()
            faults = [f"{name}: {words}" for name, seen in found.items() if (words := misfit(seen))]
            soon = [seen for seen in found.values() if seen.sandbox and seen.busy_until]
            near = datetime.now(UTC) + timedelta(seconds=QUIET_SECONDS + 1)
            if not faults and not any(s.end and s.end > s.now and s.end < near for s in soon):
                return {s.sandbox["metadata"]["name"] for s in soon if s.sandbox and s.due}
            if self.operator.pid is None:
                raise self.wrong("the operator has ended")
            time.sleep(POLL_SECONDS)
        raise self.wrong("\n".join(faults) or "a deadline is always near")

    def _check_what_was_seen(self) -> None:
        if broken := self.watcher.judge():
            raise self.wrong("\n".join(broken))
        log = self.operator.log.read_bytes()
        new, self._log_read = log[self._log_read :], len(log)
        if b"Traceback" in new:
            raise self.wrong("the operator's log has a Traceback:\n" + new[new.index(b"Traceback") :][:3000].decode())

    def _remember_pods(self) -> None:
        """A Pod that nothing gave a reason to replace is still the same."""
        for name, seen in self.look().items():
            self.found[kind_of(seen)] += 1
            uid = seen.pod["metadata"]["uid"] if seen.pod else ""
            past = seen.past
            if past.calm and past.last_pod and uid and uid != past.last_pod:
                raise self.wrong(f"{name}: its Pod was replaced, and nothing gave a reason for that")
            past.calm, past.last_pod = True, uid

    def remove(self, names: Iterable[str]) -> None:
        """Remove what a history has made, without waiting for it."""
        for name in names:
            self.api.ask("DELETE", f"{SANDBOXES}/{name}", {"propagationPolicy": "Background"})
            if name in self.pasts:
                self.pasts[name].removed = True

    def wrong(self, why: str) -> AssertionError:
        """The error to raise, with the whole history."""
        found = [f"{name}: {s.sandbox and s.sandbox.get('status')}" for name, s in self.look().items()]
        log = self.operator.log.read_bytes()[self._log_begun :].decode(errors="replace").splitlines()
        said = [line for line in log if "sandmount.decisions" not in line][-80:]
        lines = [why, "", "what was done:", *self.story, *found, "", "the operator's last words:", *said]
        self.why = "\n".join(lines)
        return AssertionError(self.why)

    @property
    def log(self) -> Path:
        """The operator's log."""
        return self.operator.log
