"""The suite can fail: the same attacks against an operator that mounts the requested paths get out, and are noticed.

What they get at is printed at the end of a run: read (the canary's word in a container's output), changed, and new
names outside of every root.
"""

from collections.abc import Iterator

import pytest

from tests.attack.ground import COMPLETED, Attack, Ground, Result
from tests.attack.links import LINKS, follow
from tests.attack.planted import planted_by_a_neighbour, swapped_before_a_restart, write_through_a_writable_root
from tests.attack.race import race
from tests.cluster import Cluster
from tests.support import OperatorProcess
from tests.support.fixtures import Recorder
from tests.support.installation import REPOSITORY

RAW_BUILD = REPOSITORY / "tests" / "attack" / "raw_build"

CAUGHT = (
    "path", "path-middle", "path-deep-middle", "sub-path", "sub-path-middle", "path-and-sub-path", "path-ro",
    "path-middle-ro", "sub-path-ro", "to-relative", "to-the-parent-of-the-root", "to-dots-from-the-root",
    "to-proc-self-root", "to-another-link", "to-thirty-links", "to-the-host",
)  # fmt: skip
"""The links of LINKS that lead to a directory: each by itself gets out."""


@pytest.fixture(scope="module")
def raw(operator: OperatorProcess, cluster: Cluster) -> Iterator[None]:
    """In the operator's place, one that mounts raw paths."""
    operator.stop()
    try:
        with OperatorProcess(cluster, {"PYTHONPATH": f"{RAW_BUILD}:{REPOSITORY / 'operator'}"}):
            yield
    finally:
        operator.start()
        operator.wait_until_working()


@pytest.fixture
def exposed(raw: None, ground: Ground) -> Ground:
    """A ground without the protection that this suite is about."""
    assert raw is None
    return ground


def follow_those_that_get_out(ground: Ground) -> Result:
    """The links that lead to directories."""
    return follow(ground, {name: LINKS[name] for name in CAUGHT})


def test_every_link_leads_out(exposed: Ground, record_property: Recorder) -> None:
    result = follow_those_that_get_out(exposed)
    record_property("raw build, caught", summary(result))
    assert result.settled == dict.fromkeys(CAUGHT, COMPLETED), result.evidence
    assert result.read.keys() >= {f"output of {name}" for name in CAUGHT}, result.evidence
    writable = [name for name, link in LINKS.items() if name in CAUGHT and not link.read_only]
    new = [line for line in result.changed if line.startswith("new: ")]
    assert all(any(f"/was-here-{name}:" in line for line in new) for name in writable), result.evidence


ATTACKS: dict[str, tuple[Attack, str, str]] = {
    "planted by a neighbour": (planted_by_a_neighbour, "output of absolute", "was-here-absolute"),
    "swapped before a restart": (swapped_before_a_restart, "output of victim", "was-here-victim"),
    "read-only root by way of a writable one": (write_through_a_writable_root, "", "was-here-link"),
}
"""Name to the attack, where it shows the canary's word, and what it leaves outside."""


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_out(name: str, exposed: Ground, record_property: Recorder) -> None:
    attack, reads, leaves = ATTACKS[name]
    result = attack(exposed)
    record_property(f"raw build, caught, {name}", summary(result))
    assert result.escaped
    assert reads in {"", *result.read}, result.evidence
    assert any(line.startswith("new: ") and leaves in line for line in result.changed), result.evidence


def test_a_race_is_won(exposed: Ground, record_property: Recorder) -> None:
    result = race(exposed, sandboxes=24, starts=20, ran=20)
    record_property("raw build, caught, race", str(result))
    assert result.escaped and result.outside and result.changed, result


def summary(result: Result) -> str:
    """What got out, in one line."""
    new, changed = (sum(line.startswith(word) for line in result.changed) for word in ("new: ", "changed: "))
    return f"{len(result.read)} outputs with the secret, {new} new names outside, {changed} facts changed there"
