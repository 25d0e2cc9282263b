"""Histories at random, each with a check of everything at its end; and then, with all that may be there at once, quiet.

The histories are the same each time, so that a change is red for what it changes; the time between their steps is not.
`SANDMOUNT_STATE_SEED=0` plays new ones and prints their seed, `SANDMOUNT_STATE_SEQUENCES` is how many there are, and
`SANDMOUNT_STATE_SHRINK=1` looks for a shorter history that goes wrong, which takes up to five minutes more.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.stateful import run_state_machine_as_test

from tests.cluster import choose
from tests.cluster.base import ON_SIMULATED_NODES
from tests.cluster.local.cluster import LocalCluster
from tests.conftest import spare_cluster
from tests.statemachine.client import NAMESPACE
from tests.statemachine.lists import WIDE
from tests.statemachine.machine import Machine, moment
from tests.statemachine.world import SameOperator, World
from tests.support import Json
from tests.support.audit import counted
from tests.support.fixtures import Recorder, host_volume

SEQUENCES = int(os.environ.get("SANDMOUNT_STATE_SEQUENCES", "200"))
SHRINKS = bool(os.environ.get("SANDMOUNT_STATE_SHRINK"))
STEPS = 30
SEED = 2372276917
NODES = 4
QUIET_SECONDS = 60.0

AVAILABLE_PROVIDERS["fresh"] = f"{HypothesisProvider.__module__}.{HypothesisProvider.__qualname__}"
"""Hypothesis' own way to draw, under another name: with its own name five of six histories are an earlier one with a
step exchanged, and here each costs seconds."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A cluster with simulated nodes that nobody else uses."""
    first = choose()
    if not isinstance(first, LocalCluster):
        pytest.skip(f"simulated nodes need the local cluster; the one in use is {first.name!r}")
    first.prepare()
    with (
        spare_cluster(first) as spare,
        spare.simulate_nodes(NODES),
        SameOperator(spare) as operator,
    ):
        operator.kube.make_namespace(NAMESPACE)
        found = World(spare, operator, shrinks=SHRINKS)
        yield found
        found.close()


def test_random_histories_come_right(world: World, record_property: Recorder) -> None:
    number = int(os.environ.get("SANDMOUNT_STATE_SEED") or SEED) or secrets.randbits(32)
    print(f"SANDMOUNT_STATE_SEED={number}")
    record_property("SANDMOUNT_STATE_SEED", number)
    numbers = count()

    @seed(number)
    def machine() -> Machine:
        return Machine(world, next(numbers))

    how = settings(
        backend="fresh",
        max_examples=SEQUENCES,
        stateful_step_count=STEPS + 1,  # the first one begins
        phases=(Phase.generate, Phase.shrink) if SHRINKS else (Phase.generate,),
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    begun = time.monotonic()
    try:
        run_state_machine_as_test(machine, settings=how)  # type: ignore[arg-type]
    except Exception:
        if SHRINKS or not world.why:
            raise
    if world.why:
        pytest.fail(f"SANDMOUNT_STATE_SEED={number}\n{world.why}", pytrace=False)
    took, whole = time.monotonic() - begun, [steps for steps in world.lengths if steps >= STEPS]
    record_property(
        "sequences", f"{len(whole)} of {STEPS} steps, {len(world.lengths) - len(whole)} shorter, {took:.0f} s"
    )
    record_property("waited until all was right", f"{world.waited:.0f} s")
    record_property("what was found at quiet times", dict(world.found))
    record_property("what was done", dict(world.counts))
    record_property("Pods made while another list came", len(world.watcher.doubtful))
    record_property("what the operator wrote", dict(world.written))
    assert len(whole) >= SEQUENCES


def test_nothing_is_written_when_nothing_changes(world: World, record_property: Recorder) -> None:
    world.begin()
    world.set_list(WIDE)
    for name, more in GALLERY.items():
        world.create(f"rest-{name}", {"image": "busybox:stable", **ON_SIMULATED_NODES, **more})
    world.settle()
    world.audit.begin()
    time.sleep(QUIET_SECONDS)
    writes = world.writes()
    record_property(f"writes of {len(GALLERY)} Sandboxes at rest, in {QUIET_SECONDS:.0f} s", len(writes))
    assert not writes, counted(writes)


GALLERY: dict[str, Json] = {
    "plain": {},
    "mounted": {"volumes": [host_volume("/srv/states/one/work")]},
    "denied": {"volumes": [host_volume("/srv/states/never")]},
    "paused": {"paused": True},
    "late": {"expiresAt": moment("past"), "expiryPolicy": "Delete"},
    "far": {"expiresAt": moment("far"), "timeoutSeconds": 3600},
}
