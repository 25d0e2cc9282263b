"""kubectl with objects: apply, find, wait, and a story of what was last seen when a wait fails.

Objects are dicts, as in JSON; no text is ever put together from parts to make YAML.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster import Cluster, ClusterError
from tests.cluster.base import TESTS_LABEL
from tests.cluster.kubectl import SANDBOXES, Kubectl

Json = dict[str, Any]
Found = TypeVar("Found")

OPERATOR_NAMESPACE = "sandmount-system"
ALLOWLIST_NAME = "sandmount-host-paths"
ALLOWLIST_KEY = "allowed_host_paths"

POLL_SECONDS = 0.08
MANAGER = "sandmount-tests"


class NotInTimeError(ClusterError):
    """Something did not happen within its time; the message says what was seen instead."""


def wait_until(
    what: str, ask: Callable[[], Found | None], seconds: float, explain: Callable[[], str] = lambda: ""
) -> Found:
    """Ask until the answer is neither None nor False, and return it. Raises NotInTimeError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise NotInTimeError(f"{what}: not within {seconds:g} s.\n{explain()}".strip())
        time.sleep(POLL_SECONDS)
    return answer


class Kube(Kubectl):
    """A cluster's kubectl. Every lookup that fails raises ClusterError: a failure is never taken for an absence."""

    @classmethod
    def of(cls, cluster: Cluster) -> Kube:
        """With the administrator's credentials."""
        return cls(cluster.kubectl, cluster.kubeconfig)

    def feed(self, text: str, *args: str, seconds: float = 60) -> str:
        """Run with the text as standard input and return what it printed."""
        done = self._call(args, text, seconds)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(args)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _call(self, args: Sequence[str], text: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Like `try_run`, with input, and with output that need not be UTF-8."""
        command = [str(self.binary), f"--kubeconfig={self.kubeconfig}", *args]
        try:
            return subprocess.run(
                command,
                input=text,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds:g} s")
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, "", str(error))

    def apply(self, objects: Json | Iterable[Json]) -> None:
        """Create or change objects, by server-side apply."""
        items = [objects] if isinstance(objects, dict) else list(objects)
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.feed(text, "apply", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "-f", "-")

    def find(self, kind: str, name: str, namespace: str = "") -> Json | None:
        """The object, or None when there is no such object."""
        text = self.run("get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "json")
        found: Json | None = json.loads(text) if text.strip() else None
        return found

    def get(self, kind: str, name: str, namespace: str = "") -> Json:
        """The object, which has to be there."""
        found = self.find(kind, name, namespace)
        if found is None:
            raise ClusterError(f"there is no {kind} {name}" + (f" in namespace {namespace}" if namespace else ""))
        return found

    def delete(self, kind: str, name: str, namespace: str = "", *, wait: bool = True) -> None:
        """Delete it, if it is there."""
        how = "--wait=true" if wait else "--wait=false"
        self.run("delete", kind, name, *_in(namespace), "--ignore-not-found", how, seconds=120)

    def exec(self, pod: str, namespace: str, *command: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in a Pod's container; the caller looks at the exit code."""
        return self._call(["exec", pod, *_in(namespace), "--", *command], "", seconds)

    def make_namespace(self, name: str) -> None:
        """Make a namespace that `reset` of the cluster removes, and wait until it takes Pods."""
        key, _, value = TESTS_LABEL.partition("=")
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {key: value}}})
        wait_until(f"the ServiceAccount of namespace {name}", lambda: self.find("serviceaccount", "default", name), 30)

    def allowlist(self) -> str | None:
        """The allowlist's text, or None when the ConfigMap or its key is not there."""
        found = self.find("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)
        text: str | None = ((found or {}).get("data") or {}).get(ALLOWLIST_KEY)
        return text

    def set_allowlist(self, text: str) -> None:
        """Put this text into the allowlist's ConfigMap, made if it is not there."""
        metadata = {"name": ALLOWLIST_NAME, "namespace": OPERATOR_NAMESPACE}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {ALLOWLIST_KEY: text}})

    def condition(self, name: str, namespace: str, kind: str) -> Json | None:
        """A condition of a Sandbox, or None when the Sandbox or the condition is not there."""
        return condition_of(self.find(SANDBOXES, name, namespace), kind)

    def wait_for_sandbox(
        self,
        name: str,
        namespace: str,
        what: str,
        is_so: Callable[[Json], bool],
        *,
        seconds: float = 60,
        log: Path | None = None,
    ) -> Json:
        """Look at a Sandbox until `is_so` holds of it; `what` names that for people, `log` is the operator's."""

        def ask() -> Json | None:
            found = self.find(SANDBOXES, name, namespace)
            return found if found is not None and is_so(found) else None

        return wait_until(f"Sandbox {name} {what}", ask, seconds, lambda: self.story(name, namespace, log))

    def story(self, name: str, namespace: str, log: Path | None = None) -> str:
        """What there is to see about a Sandbox: conditions, Pod, Events, and the end of the operator's log."""
        events = self.try_run("events", "-n", namespace, "--no-headers").stdout.splitlines()
        return "\n".join(
            [
                "What was last seen:",
                *_about_sandbox(self.find(SANDBOXES, name, namespace)),
                *_about_pod(self.find("pod", name, namespace)),
                *(f"  event: {line}" for line in events[-10:] if f"/{name} " in f"{line} "),
                *(f"  operator: {line}" for line in (tail(log) if log else [])),
            ]
        )


def condition_of(sandbox: Json | None, kind: str) -> Json | None:
    """The condition of that type, or None."""
    conditions = ((sandbox or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), None)


def is_true(sandbox: Json, kind: str) -> bool:
    """Whether the Sandbox's condition is True, and about the spec as it is now."""
    found = condition_of(sandbox, kind)
    up_to_date = found is not None and found.get("observedGeneration") == sandbox["metadata"]["generation"]
    return up_to_date and found is not None and found["status"] == "True"


def tail(log: Path, lines: int = 12) -> list[str]:
    """The last lines of a log, which may not be there."""
    try:
        return log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def _in(namespace: str) -> tuple[str, ...]:
    return ("-n", namespace) if namespace else ()


def _about_sandbox(sandbox: Json | None) -> list[str]:
    if sandbox is None:
        return ["  Sandbox: there is none"]
    status = sandbox.get("status") or {}
    found = [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in status.get("conditions") or ()]
    return [f"  Sandbox: phase {status.get('phase')}", *(f"  condition: {line}" for line in found)]


def _about_pod(pod: Json | None) -> list[str]:
    if pod is None:
        return ["  Pod: there is none"]
    status = pod.get("status") or {}
    states = [json.dumps(c.get("state")) for c in status.get("containerStatuses") or ()]
    return [f"  Pod: phase {status.get('phase')}", *(f"  container: {state}" for state in states)]
