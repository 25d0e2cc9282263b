"""Attacks by two Sandboxes that share a root: one prepares the place, the other mounts it."""

from __future__ import annotations

import json
import os

from tests.attack.ground import COMPLETED, GREEDY, Attempt, Ground, Result
from tests.support.fixtures import USER, host_volume

PLANT = """
cd /mnt/data
ln -s "$CANARY" absolute; ln -s ../outside relative; ln -s absolute chain; ln -s .. up
ln -s "/proc/self/root$CANARY" magic
mkdir folder; ln -s "$CANARY" folder/link
"""

PLANTED = {
    "absolute": ("absolute", ""),
    "absolute-middle": ("absolute/deeper", ""),
    "relative": ("relative", ""),
    "relative-sub-path": ("", "relative/deeper"),
    "chain": ("chain", ""),
    "up": ("up/outside", ""),
    "magic": ("magic", ""),
    "in-a-folder": ("folder", "link"),
}
"""Name to what continues host.path, and the subPath, of the Sandbox that comes second."""

FIRST_WAIT_THEN_RAID = f"""
[ -e /again/ready ] || {{
  touch /again/ready /mnt/data/ready
  until [ -e /mnt/data/swapped ]; do sleep 0.1; done
  exit 1
}}
{GREEDY}
"""
"""Mounted once at the granted place; started again, after that place was swapped."""

SWAP = """
cd /mnt/data; until [ -e team/ready ]; do sleep 0.1; done
mv team team.old; ln -s "$CANARY" team; touch team.old/swapped
"""

WRITE = """
cd /mnt/data; for each in . */; do echo greed > "$each/was-here-$HOSTNAME"; echo greed >> "$each/secret.txt"; done
exit 0
"""
"""Reads nothing: what may be read is no secret here."""

INNER = {"name": "inner"}


def planted_by_a_neighbour(ground: Ground) -> Result:
    """One Sandbox makes links inside the shared root, others mount them."""
    first = ground.attack({"planter": Attempt((host_volume(ground.root),), PLANT)})
    assert first.settled == {"planter": COMPLETED} and not first.escaped, first.evidence
    assert (ground.root / "folder" / "link").readlink() == ground.canary.path
    return ground.attack(
        {
            name: Attempt((host_volume(ground.root / path, **({"subPath": sub_path} if sub_path else {})),))
            for name, (path, sub_path) in PLANTED.items()
        }
    )


def swapped_before_a_restart(ground: Ground) -> Result:
    """A neighbour replaces a granted directory by a link while the container runs; then the container starts again."""
    team = ground.root / "team"
    team.mkdir()
    os.chown(team, USER, USER)
    again = {"name": "again", "emptyDir": {}, "mountPath": "/again"}  # outlives the container
    volumes = (host_volume(team), again)
    ground.start({"victim": Attempt(volumes, FIRST_WAIT_THEN_RAID, {"restartPolicy": "OnFailure"})})
    ground.start({"neighbour": Attempt((host_volume(ground.root),), SWAP)})
    return ground.finish(["victim", "neighbour"])


def moved_out_of_its_mount(ground: Ground) -> Result:
    """A neighbour moves a directory out of what a container has mounted while a process stands in it, which goes up."""
    place = ground.root / "team" / "inner" / "place"
    place.mkdir(parents=True)
    (ground.root / "beyond.txt").write_text(f"{ground.canary.word}\n")  # in the root, and not in what was granted
    for each in (place, *place.parents[:2], ground.root / "beyond.txt"):
        os.chown(each, USER, USER)
    climb = """
    cd /mnt/data/inner/place; touch /mnt/data/ready; until [ -e moved ]; do sleep 0.1; done
    for up in .. ../.. ../../.. ../../../..; do ls -la "$up"; cat "$up/beyond.txt" "$up/outside/secret.txt"; done
    exit 0
    """
    move = """
    cd /mnt/data; until [ -e team/ready ]; do sleep 0.1; done; mv team/inner/place place; touch place/moved
    """
    ground.start({"climber": Attempt((host_volume(ground.root / "team"),), climb)})
    ground.start({"mover": Attempt((host_volume(ground.root),), move)})
    return ground.finish(["climber", "mover"])


def write_through_a_writable_root(ground: Ground) -> Result:
    """A root that may only be read, asked for by way of links in another that may be written, and directly.

    The root that may only be read is the canary's directory here: whatever changes there is noticed.
    """
    read_only, inner = ground.canary.path, ground.canary.path / "deeper"
    ground.roots.append(inner)
    ground.allow(json.dumps([str(ground.root), {"path": str(read_only), "readOnly": True}, {"path": str(inner)}]))
    (ground.root / "link").symlink_to(read_only)
    (inner / "up").symlink_to("..")
    (inner / "aside").symlink_to("../open")
    ground.begin()
    asked = {
        "link": ground.root / "link",
        "link-deeper": ground.root / "link" / "open",
        "up": inner / "up",
        "aside": inner / "aside",
        "directly": read_only,
        "below": read_only / "open",
    }
    attempts = {name: Attempt((host_volume(path),), WRITE) for name, path in asked.items()}
    attempts["both"] = Attempt((host_volume(read_only, readOnly=True), host_volume(inner, "/mnt/inner") | INNER), WRITE)
    return ground.attack(attempts)
