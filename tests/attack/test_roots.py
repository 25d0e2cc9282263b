"""Roots and what stands around them: names like a root's, links above a root, a root inside another."""

import os
import unicodedata
from pathlib import Path

from tests.attack.canary import SECRET
from tests.attack.ground import COMPLETED, Attempt, Ground
from tests.support.fixtures import USER, host_volume

DENIED = "HostPathNotAllowed"
REFUSED = "CreateContainerConfigError"

LOOKALIKES = (
    "database", "data-evil", "data.", "data ", " data", "Data", "DATA", "dat", "data\\", "data~", "d\u0430ta",
    "\uff44ata", "data\u0301", "data\u00a0",
)  # fmt: skip
"""Names next to a root named "data": longer, shorter, in other letters."""


def outside(ground: Ground, name: str) -> Path:
    """A directory next to the root, with the canary's word in it."""
    folder = ground.host / name
    folder.mkdir()
    (folder / SECRET).write_text(f"{ground.canary.word}\n")
    for each in (folder, folder / SECRET):
        os.chown(each, USER, USER)
    return folder


def root_at(ground: Ground, path: Path) -> Path:
    """A directory that belongs to the Sandboxes' user and is the only root on the allowlist."""
    path.mkdir(parents=True)
    os.chown(path, USER, USER)
    ground.roots.append(path)
    ground.allow(f"- {path}\n")
    return path


def test_a_directory_with_a_name_like_the_root_s_is_not_the_root(ground: Ground) -> None:
    root_at(ground, ground.host / "data")
    for name in LOOKALIKES:
        outside(ground, name)
    ground.begin()
    attempts = {f"a{n}": Attempt((host_volume(ground.host / name),)) for n, name in enumerate(LOOKALIKES)}
    attempts |= {f"b{n}": Attempt((host_volume(f"{ground.host}/{name}/x"),)) for n, name in enumerate(LOOKALIKES)}
    result = ground.attack(attempts)
    assert not result.escaped, result.evidence
    assert result.settled == dict.fromkeys(attempts, DENIED), result.evidence


def test_two_ways_to_write_the_same_letters_are_two_directories(ground: Ground) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root_at(ground, ground.host / composed)
    outside(ground, decomposed)
    ground.begin()
    volumes = {"root": host_volume(ground.host / composed), "other": host_volume(ground.host / decomposed)}
    result = ground.attack({name: Attempt((volume,)) for name, volume in volumes.items()})
    assert not result.escaped, result.evidence
    assert result.settled == {"root": COMPLETED, "other": DENIED}, result.evidence


def test_below_a_root_that_is_reached_through_a_link_nothing_leads_out_either(ground: Ground) -> None:
    """Whoever may make links above a root decides where it is, which is said in the documents; not what is below it."""
    place = root_at(ground, ground.host / "real" / "root")
    (ground.host / "above").symlink_to("real")
    (ground.host / "itself").symlink_to("real/root")
    (place / "link").symlink_to(ground.canary.path)
    (place / "up").symlink_to("..")
    ways = {"above": ground.host / "above" / "root", "itself": ground.host / "itself"}
    ground.allow("".join(f"- {path}\n" for path in ways.values()))
    ground.begin()
    attempts = {name: Attempt((host_volume(path),)) for name, path in ways.items()}
    for number, below in enumerate(("link", "link/deeper", "link/new", "up", "up/new")):
        attempts |= {f"{name}-{number}": Attempt((host_volume(path / below),)) for name, path in ways.items()}
    result = ground.attack(attempts)
    assert not result.escaped, result.evidence
    assert result.settled == dict.fromkeys(attempts, REFUSED) | dict.fromkeys(ways, COMPLETED), result.evidence
    assert {path.name for path in place.glob("was-here-*[a-z]")} >= {"was-here-above", "was-here-itself"}


def test_a_root_inside_another_cannot_be_swapped_for_a_link(ground: Ground) -> None:
    """Who may write the outer root could do that, so the inner one grants nothing."""
    inner = ground.root / "inner"
    inner.mkdir()
    os.chown(inner, USER, USER)
    ground.allow(f"- {ground.root}\n- {inner}\n")
    swap = 'cd /mnt/data && rmdir inner && ln -s "$CANARY" inner'
    first = ground.attack({"outer": Attempt((host_volume(ground.root),), swap)})
    assert first.settled == {"outer": COMPLETED} and inner.is_symlink(), first.evidence
    result = ground.attack(
        {"inner": Attempt((host_volume(inner),)), "below": Attempt((host_volume(inner / "deeper"),))}
    )
    assert not result.escaped, result.evidence
    assert result.settled == {"inner": DENIED, "below": DENIED}, result.evidence
