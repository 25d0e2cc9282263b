"""Races of a Sandbox's creation with the allowlist: many, within milliseconds, with delays chosen at random."""

from __future__ import annotations

import random
from pathlib import Path

from tests.attack.api_support import WRITE, allowlist, config_map, pods_followed, script, wait_until_still
from tests.support import Json, wait_until
from tests.support.fixtures import Recorder, Sandboxes, host_volume

DENIED = "HostPathNotAllowed"

ROUNDS = 4
SANDBOXES = 4
LONGEST_PAUSE = 4
"""Writes of other objects, of some milliseconds each, after each Sandbox and before the narrower list."""


def writer(sandboxes: Sandboxes, name: str, directory: Path) -> Json:
    """A Sandbox that writes, and ends at once when it is told to."""
    volume = host_volume(directory)
    return sandboxes.manifest(name, volume, entrypoint=script(WRITE), terminationGracePeriodSeconds=1)


def race(sandboxes: Sandboxes, shared: Path, record_property: Recorder) -> None:
    """Create Sandboxes and tighten the list within milliseconds, many times; no Pod may be left."""
    seed = random.SystemRandom().randrange(2**32)
    rng = random.Random(seed)  # noqa: S311 - chooses delays, protects nothing
    with pods_followed(sandboxes.kube, sandboxes.namespace) as seen:
        for number in range(ROUNDS):
            names = [f"race-{number}-{each}" for each in range(SANDBOXES)]
            steps = [allowlist(f"- {shared}\n")]
            for name in names:
                pauses = rng.randint(0, LONGEST_PAUSE)
                steps += [
                    writer(sandboxes, name, shared),
                    *(config_map(sandboxes.namespace, "pause", f"{name} {p}") for p in range(pauses)),
                ]
            sandboxes.kube.apply([*steps, allowlist("none")])
            for name in names:
                sandboxes.wait_reason(name, DENIED)
            wait_until("no Pod is left", lambda: not sandboxes.kube.items("pods", "-n", sandboxes.namespace), 60)
    made = {pod["metadata"]["name"] for pod in seen}
    record_property("Pods that were under way", f"{len(made)} of {ROUNDS * SANDBOXES}, seed {seed}")
    assert made, "the narrower list was always first: nothing was shown"
    wait_until_still(*(shared / name for name in made))
