"""The race: directories and links to the canary change places while the kubelet mounts them, hundreds of times."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.attack.canary import SECRET, Facts
from tests.attack.exchange import LINK, MISSING, TRASH, exchanging
from tests.attack.ground import PAUSE, Attempt, Ground
from tests.support import wait_until
from tests.support.fixtures import USER, host_volume

DECOY = "decoy"
SECONDS = 300.0

RAID = """
id="$HOSTNAME-$(cat /proc/sys/kernel/random/uuid)"
{
  if [ -f /mnt/data ]; then cat /mnt/data; echo raid >> /mnt/data
  else cat /mnt/data/secret.txt; ls -a /mnt/data; echo raid > "/mnt/data/was-here-$id"; fi
} > "/loot/$id" 2>&1
exit 0
"""
"""Each start leaves a file in the loot that says what it saw, and a file in what it has mounted."""

MOVE_ABOUT = """
cd /mnt/data
while :; do
  mv gap gap.dir
  ln -s "$CANARY" gap.new; mv gap.new gap
  rm -rf gap; mv gap.dir gap
done
"""
"""Without the system call that exchanges: for moments there is nothing at all, and the kubelet makes a directory."""

WAYS: Mapping[str, tuple[str, str]] = {
    "final": ("final", ""),
    "middle": ("middle/deeper", ""),
    "sub-path": ("", "sub"),
    "sub-path-middle": ("final", "deeper/deepest"),
    "missing": ("missing/new-{}", ""),
    "missing-sub-path": ("missing", "new-{}/deep"),
    "file": ("file", ""),
    "gap": ("gap", ""),
}
"""Name to what continues host.path, and the subPath; each Sandbox has its own number."""

EXCHANGED: Mapping[str, str] = {"final": "", "middle": "", "sub": "", "file": SECRET, MISSING: "empty"}
"""What is exchanged with a link, and where in the canary that leads."""


@dataclass(frozen=True)
class Race:
    """What came of a race."""

    inside: int
    """Starts that had a directory of the root mounted."""
    empty: int
    """Starts that had a directory mounted which the kubelet had made."""
    outside: int
    """Starts that saw the canary."""
    refused: int
    """Starts that the kubelet refused."""
    exchanges: int
    made_by_kubelet: list[str]
    """Directories outside of every root that the kubelet made: the known limit of ordinary file systems."""
    changed: list[str]
    """What else is different outside of every root."""
    leaked: dict[str, str]
    """Objects and logs in which the canary's word was found."""

    @property
    def ran(self) -> int:
        """Starts that were not refused."""
        return self.inside + self.empty + self.outside

    @property
    def starts(self) -> int:
        """Container starts."""
        return self.ran + self.refused

    @property
    def escaped(self) -> bool:
        """Whether anything got out."""
        return bool(self.outside or self.changed or self.leaked)

    def __str__(self) -> str:
        return (
            f"{self.starts} starts: {self.inside} inside, {self.empty} in an empty directory, {self.refused} refused, "
            f"{self.outside} outside; {self.exchanges} exchanges; outside of the root "
            f"{len(self.made_by_kubelet)} empty directories made by the kubelet, {len(self.changed)} other changes"
        )


def prepare(ground: Ground) -> Path:
    """Put the directories and links in their places. Returns where each start reports what it saw, a root too."""
    loot = ground.host / "loot"
    for folder in (loot, ground.root / TRASH, ground.root / "gap", ground.root / MISSING):
        folder.mkdir()
    for name in ("final", "middle", "sub"):
        (ground.root / name / "deeper" / "deepest").mkdir(parents=True)
    (ground.root / "file").write_text(f"{DECOY}\n")
    for name, target in EXCHANGED.items():
        (ground.root / f"{name}{LINK}").symlink_to(ground.canary.path / target)
    for each in [loot, *ground.root.rglob("*")]:
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o777)
            if MISSING not in each.parts:
                (each / SECRET).write_text(f"{DECOY}\n")
    for each in [loot, *ground.root.rglob("*")]:
        os.chown(each, USER, USER, follow_symlinks=False)
    ground.root.chmod(0o777)  # what the kubelet makes gets the same mode, so that a start can write there
    ground.roots.append(loot)
    ground.allow(f"- {ground.root}\n- {loot}\n")
    return loot


def race(ground: Ground, sandboxes: int, starts: int, ran: int) -> Race:
    """Start containers of that many Sandboxes, over and over, while the directories that they mount change places.

    Until there were that many starts, and that many of them were not refused.
    """
    loot = prepare(ground)
    ground.begin()
    seen: list[Path] = []

    def enough() -> bool:
        time.sleep(PAUSE)
        seen[:] = [path for path in loot.iterdir() if path.name != SECRET]
        return len(seen) >= ran and len(seen) + refusals(ground) >= starts

    with exchanging(ground.root, list(EXCHANGED), USER) as attacker:
        try:
            ground.start({"mover": Attempt((host_volume(ground.root),), MOVE_ABOUT)})
            ground.start(_raiders(ground, loot, sandboxes))
            wait_until(
                f"{starts} container starts", enough, SECONDS, lambda: f"{len(seen)} ran, {refusals(ground)} not"
            )
            refused = refusals(ground)
        finally:
            ground.end()  # or they would go on where the next test looks
        exchanges = attacker.done
    said = [path.read_text(errors="replace") for path in loot.iterdir() if path.name != SECRET]
    outside = [text for text in said if ground.canary.word in text]
    inside = [text for text in said if DECOY in text and text not in outside]
    made, changed = made_by_kubelet(ground.before, ground.now(), ground.changes())
    return Race(
        len(inside), len(said) - len(inside) - len(outside), len(outside), refused, exchanges,
        made, changed, ground.places_with_the_word({}),
    )  # fmt: skip


def made_by_kubelet(before: Facts, now: Facts, changed: list[str]) -> tuple[list[str], list[str]]:
    """New directories of root's with nothing in them but such directories, and the changes that these do not explain.

    Directories only: a file, another owner, or a name in them is no mistake of the kubelet's.
    """
    empty: set[str] = set()
    for path in sorted(now.keys() - before.keys(), reverse=True):  # what lies in a directory comes before it
        below = {other for other in now if other.startswith(f"{path}/")}
        if now[path]["kind"] == "d" and now[path]["owner"] == (0, 0) and below <= empty:
            empty.add(path)
    noticed_at = {str(Path(path).parent) for path in empty} - empty
    explained = {f"new: {path}: d" for path in empty}
    explained |= {
        line for line in changed for parent in noticed_at for fact in ("links", "modified", "status changed", "size")
        if line.startswith(f"changed: {parent}: {fact} was ")
    }  # fmt: skip
    return sorted(empty), [line for line in changed if line not in explained]


def refusals(ground: Ground) -> int:
    """How many starts the kubelet has refused, by its Events."""
    events = ground.sandboxes.kube.items(
        "events", "-n", ground.sandboxes.namespace, "--field-selector=reason=Failed,involvedObject.kind=Pod"
    )
    return sum(event.get("count") or 1 for event in events)


def _raiders(ground: Ground, loot: Path, number: int) -> dict[str, Attempt]:
    found = {}
    for index in range(number):
        name, (path, sub_path) = list(WAYS.items())[index % len(WAYS)]
        asked = {"subPath": sub_path.format(index)} if sub_path else {}
        volumes = (
            host_volume(ground.root / path.format(index), **asked),
            host_volume(loot, "/loot") | {"name": "loot"},
        )
        found[f"{name}-{index}"] = Attempt(volumes, RAID, {"restartPolicy": "Always"})
    return found
