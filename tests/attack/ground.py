"""Where attacks take place: a root on the allowlist, a canary outside of it, and Sandboxes that try to get there.

An attack is a function of a Ground that returns a Result. Tests assert that nothing escaped with the operator as it is,
and that the same attack escapes with one that mounts the requested paths (test_raw_build.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sandmount.listfile import version_of
from tests.attack.canary import Canary, Facts, differences, facts
from tests.cluster import ClusterError
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes
from tests.support.kubectl import ALLOWLIST_NAME, OPERATOR_NAMESPACE, condition_of, tail

GREEDY = """
[ -p /mnt/data ] || timeout 5 cat /mnt/data; [ -f /mnt/data ] && echo greed >> /mnt/data
cd /mnt/data || exit 0
ls -lanR . ; find . -type f -exec cat {} +
for each in * */*; do [ -f "$each" ] && echo greed >> "$each"; done
for each in . */; do echo greed > "$each/was-here-$HOSTNAME"; done
mkdir "was-here-$HOSTNAME.d"; ln -s / "was-here-$HOSTNAME.link"; chmod 777 . *
mv empty "moved-by-$HOSTNAME"
exit 0
"""
"""Reads and changes whatever is mounted at /mnt/data, and ends with success whatever came of it."""

LOOK = 'cat "/mnt/data$CANARY/secret.txt"; exit 0'
"""Reads the canary and nothing else, for attacks that would reach the whole machine if they succeeded."""

NOT_STARTED = frozenset(
    {
        "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun",
        "HostPathNotAllowed", "HostPathReadOnly", "InvalidSpec", "PodRefused",
    }
)  # fmt: skip
"""Reasons for which the container of a Sandbox has not run."""

REFUSED_BY_API = "RefusedByAPI"
FAILED_MOUNT = "FailedMount"
COMPLETED = "Completed"
FAILED = "PodFailed"
SECONDS = 120.0
PAUSE = 0.3
"""Seconds between two questions to the API server: asking takes time from what is waited for."""


@dataclass(frozen=True)
class Attempt:
    """A Sandbox that tries to get out: what it mounts, what it then does, and more of its spec."""

    volumes: tuple[Json, ...]
    script: str = GREEDY
    spec: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of an attack."""

    settled: dict[str, str]
    """Sandbox to how it ended: Completed, or the reason why it did not start."""
    said: dict[str, str]
    """Sandbox to what its container, or the API server that refused it, printed."""
    read: dict[str, str]
    """Places (a container's output, an object, a log) in which the canary's word was found, with the text."""
    changed: list[str]
    """What is different outside of every root."""

    @property
    def escaped(self) -> bool:
        """Whether anything got out."""
        return bool(self.read or self.changed)

    @property
    def evidence(self) -> str:
        """What got out, for people."""
        read = [f"read: {place}: {text[:400]}" for place, text in self.read.items()]
        said = [f"said by {name}: {text[-400:]}" for name, text in self.said.items()]
        return "\n".join([*read, *self.changed, f"settled: {self.settled}", *said])


@dataclass
class Ground:
    """One namespace, one directory of the host with roots in it, and a canary next to them."""

    sandboxes: Sandboxes
    host: Path
    root: Path
    canary: Canary
    roots: list[Path] = field(default_factory=list)
    """Directories whose inside may change."""
    before: Facts = field(default_factory=dict)
    """How everything outside of the roots was when the attack began."""

    def allow(self, text: str) -> None:
        """Put this list in force: a Sandbox that is decided on by the one before would count as refused."""
        self.sandboxes.kube.set_allowlist(text)
        self.wait_for_list()

    def wait_for_list(self) -> None:
        """Return when every operator that works has loaded the list that there is."""
        found = self.sandboxes.kube.get("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)
        said, logs = f"version: {version_of(found)}", [operator.log for operator in OperatorProcess.at_work]

        def is_said() -> bool:
            return all(said in log.read_text(errors="replace") for log in logs)

        wait_until("the list is in force", is_said, 30, lambda: "\n".join(line for log in logs for line in tail(log)))

    def begin(self) -> None:
        """Remember how everything outside of the roots is now. What a test prepares there it prepares before."""
        self.before = self.now()

    def now(self) -> Facts:
        """How everything outside of the roots is."""
        return facts(self.host, [self.root, *self.roots])

    def changes(self) -> list[str]:
        """What is different outside of the roots since `begin`."""
        return differences(self.before, self.now())

    def attack(self, attempts: Mapping[str, Attempt]) -> Result:
        """Start a Sandbox for each attempt, wait until each has ended or was refused, and look what came of it."""
        refused = self.start(attempts)
        return self.finish(attempts.keys() - refused.keys(), refused)

    def finish(self, names: Iterable[str], refused: Mapping[str, str] | None = None) -> Result:
        """Wait until these Sandboxes have ended or were refused; `refused` by the API server are others."""
        refused = dict(refused or {})
        settled = self._wait(names)
        said = {name: self.output(name) for name, how in settled.items() if how not in NOT_STARTED}
        return Result(
            settled=settled | dict.fromkeys(refused, REFUSED_BY_API),
            said=said | refused,
            read=self.places_with_the_word(said),
            changed=self.changes(),
        )

    def end(self) -> None:
        """Delete all Sandboxes and return when nothing of them runs any more."""
        kube, inside = self.sandboxes.kube, ("-n", self.sandboxes.namespace)
        kube.run("delete", SANDBOXES, "--all", *inside, seconds=SECONDS)
        wait_until("every Pod is gone", lambda: not kube.items("pods", *inside), SECONDS)

    def output(self, name: str) -> str:
        """What the container of a Sandbox printed, or why there is nothing."""
        done = self.sandboxes.kube.try_run("logs", name, "-n", self.sandboxes.namespace)
        return done.stdout + done.stderr

    def places_with_the_word(self, said: Mapping[str, str]) -> dict[str, str]:
        """Where the canary's word is found: in these outputs, in any object of the namespace, in the operator's log."""
        kube, inside = self.sandboxes.kube, ("-n", self.sandboxes.namespace)
        looked_at = {f"output of {name}": text for name, text in said.items()}
        for kind in (SANDBOXES, "pods", "events"):
            looked_at |= {f"{kind} {o['metadata']['name']}": json.dumps(o) for o in kube.items(kind, *inside)}
        looked_at["the operator's log"] = self.sandboxes.log.read_text(errors="replace")
        return {place: text for place, text in looked_at.items() if self.canary.word in text}

    def start(self, attempts: Mapping[str, Attempt]) -> dict[str, str]:
        """Make the Sandboxes. Returns the names of those that the API server does not take, with what it says."""
        manifests = {name: self._manifest(name, attempt) for name, attempt in attempts.items()}
        with suppress(ClusterError):
            self.sandboxes.kube.apply(manifests.values())
            return {}
        refused = {}
        for name, manifest in manifests.items():
            try:
                self.sandboxes.kube.apply(manifest)
            except ClusterError as error:
                if "is invalid" not in str(error):
                    raise
                refused[name] = str(error)
        return refused

    def _manifest(self, name: str, attempt: Attempt) -> Json:
        env = [{"name": "CANARY", "value": str(self.canary.path)}, *attempt.spec.get("env", ())]
        spec = {"restartPolicy": "Never", "entrypoint": ["sh", "-c", attempt.script], **attempt.spec, "env": env}
        return self.sandboxes.manifest(name, *attempt.volumes, **spec)

    def _wait(self, names: Iterable[str]) -> dict[str, str]:
        """How each of these Sandboxes ended."""
        kube, inside = self.sandboxes.kube, ("-n", self.sandboxes.namespace)
        waited_for = set(names)
        found: dict[str, str] = {}

        def ask() -> bool:
            failed = kube.items("events", *inside, f"--field-selector=reason={FAILED_MOUNT}")
            no_mount = {e["involvedObject"]["name"] for e in failed}
            for sandbox in kube.items(SANDBOXES, *inside):
                name = sandbox["metadata"]["name"]
                how = how_it_ended(sandbox) or (FAILED_MOUNT if name in no_mount else None)
                if how is not None and name in waited_for:
                    found[name] = how
            time.sleep(0 if waited_for == found.keys() else PAUSE)
            return waited_for == found.keys()

        def explain() -> str:
            return "\n".join(
                kube.story(n, inside[1], self.sandboxes.log) for n in sorted(waited_for - found.keys())[:3]
            )

        wait_until("every Sandbox has ended or was refused", ask, SECONDS, explain)
        return found


Attack = Callable[[Ground], Result]


def how_it_ended(sandbox: Json) -> str | None:
    """Completed, failed, or the reason why it cannot start; None as long as it may still run."""
    if (sandbox.get("status") or {}).get("observedGeneration") != sandbox["metadata"]["generation"]:
        return None
    if condition_of(sandbox, "Finished"):
        return COMPLETED
    reason: str = (condition_of(sandbox, "Ready") or {}).get("reason", "")
    return reason if reason in NOT_STARTED | {FAILED} else None
