"""Some minutes in a cluster where three teams use Sandboxes, so that each panel has something to show."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.base import say
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube
from tests.support.fixtures import USER, Sandboxes, host_volume

TEAMS = ("team-a", "team-b", "ci-builds")
ROUNDS = 8
ROUND_SECONDS = 25.0
KEPT_ROUNDS = 2
"""After so many rounds a Sandbox of team-a is deleted."""


@dataclass(frozen=True)
class Story:
    """A cluster with an operator at work, and a directory with `data` and `models` in it."""

    kube: Kube
    root: Path

    def tell(self) -> None:
        """All of it; returns when the last round is over."""
        for team in TEAMS:
            self.kube.make_namespace(team)
        self.allow()
        changes: dict[int, tuple[str, Callable[[], None]]] = {
            2: ("a mistake in the allowlist", lambda: self.allow(more="- relative/path\n")),
            3: ("the mistake is mended; some are paused", self.mended),
            5: ("models are no longer allowed", lambda: self.allow(models=False)),
            6: ("they are again", self.allow),
        }
        for number in range(ROUNDS):
            begun = time.monotonic()
            what, change = changes.get(number, ("more Sandboxes", lambda: None))
            say(f"Round {number + 1} of {ROUNDS}: {what}")
            change()
            self.kube.apply(self.created(number))
            if number >= KEPT_ROUNDS:
                old = [s["metadata"]["name"] for s in self.of_team_a(number - KEPT_ROUNDS)]
                self.kube.run("delete", SANDBOXES, *old, "-n", TEAMS[0], "--wait=false")
            time.sleep(max(0.0, begun + ROUND_SECONDS - time.monotonic()))

    def allow(self, more: str = "", *, models: bool = True) -> None:
        """The allowlist."""
        read_only = f"- path: {self.root / 'models'}\n  readOnly: true\n" if models else ""
        self.kube.set_allowlist(f"- {self.root / 'data'}\n{read_only}{more}")

    def mended(self) -> None:
        """The allowlist without its mistake; what team-b made in the second round is paused."""
        self.allow()
        for item in self.of_team_b(1):
            item["spec"]["paused"] = True
            self.kube.apply(item)

    def created(self, number: int) -> list[Json]:
        """What is created in that round."""
        ci = self.of(TEAMS[2])
        outside = [ci.manifest(f"outside-{number}-{i}", host_volume("/etc")) for i in range(2)]
        writes = [ci.manifest(f"writes-{number}", host_volume(self.root / "models"))]
        ends = [ci.manifest(f"build-{number}", entrypoint=["true"], restartPolicy="Never")]
        return self.of_team_a(number) + self.of_team_b(number) + outside + writes + ends

    def of_team_a(self, number: int) -> list[Json]:
        """They write."""
        own = self.of(TEAMS[0])
        return [own.manifest(f"training-{number}-{i}", host_volume(self.root / "data")) for i in range(6)]

    def of_team_b(self, number: int) -> list[Json]:
        """They read."""
        own = self.of(TEAMS[1])
        reads = host_volume(self.root / "models", readOnly=True)
        return [own.manifest(f"serving-{number}-{i}", reads) for i in range(3)]

    def of(self, team: str) -> Sandboxes:
        """A team's Sandboxes."""
        return Sandboxes(self.kube, team, Path("/dev/null"))


def prepare(root: Path) -> None:
    """The directories, as their Sandboxes' user needs them."""
    for name in ("data", "models"):
        (root / name).mkdir()
        os.chown(root / name, USER, USER)
