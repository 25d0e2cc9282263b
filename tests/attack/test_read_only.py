"""Read-only mounts: nothing below them changes, by no way in, also where the host has mounted something below."""

from pathlib import Path

import pytest

from tests.attack.canary import differences, facts
from tests.attack.ground import COMPLETED, Attempt, Ground
from tests.attack.mounts import mounted
from tests.attack.planted import write_through_a_writable_root
from tests.support import Json
from tests.support.fixtures import USER, Sandboxes, host_volume

WRITE_EVERYWHERE = """
for place in $PLACES; do
  cd "$place" || continue
  echo new > new; mkdir newer; ln -s x link; ln file hard; mknod pipe p; mv file other; rm -f file; rm -rf below
  echo more >> file; true > file; chmod 777 file .; touch file .; truncate -s 0 file
  ( exec 3< file; echo more > /proc/self/fd/3; dd if=/dev/zero of=/proc/self/fd/3 bs=1 count=1 )
  mount -o remount,rw "$place"; mount -o remount,bind,rw "$place"; umount "$place"; umount -l "$place"
  echo more > "/proc/self/root$place/file"; echo more > "/proc/1/root$place/file"
done 2>&1
exit 0
"""
"""All that a shell can do to a file, to a directory and to the mount itself."""


@pytest.fixture
def furnished(ground: Ground) -> Ground:
    """A root with a file, and with a directory that has one too; all USER's, so that only the mount protects them."""
    for folder in (ground.root, ground.root / "below"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        furnish(folder)
    return ground


def furnish(folder: Path) -> None:
    """A file that everybody may write."""
    (folder / "file").write_text("as it was\n")
    (folder / "file").chmod(0o666)


def places(*paths: str) -> Json:
    """The part of a spec that tells WRITE_EVERYWHERE where."""
    return {"env": [{"name": "PLACES", "value": " ".join(paths)}]}


def volume(name: str, path: Path, **more: object) -> Json:
    """A host volume at /mnt/NAME."""
    return host_volume(path, f"/mnt/{name}", **more) | {"name": name}


@pytest.mark.parametrize("user", [USER, 0])
def test_nothing_below_a_read_only_mount_changes_whoever_tries(furnished: Ground, user: int) -> None:
    before = facts(furnished.root)
    spec = places("/mnt/data", "/mnt/data/below") | {"securityContext": {"runAsUser": user, "runAsGroup": user}}
    result = furnished.attack({"ro": Attempt((host_volume(furnished.root, readOnly=True),), WRITE_EVERYWHERE, spec)})
    assert result.settled == {"ro": COMPLETED} and not result.escaped, result.evidence
    assert "Read-only file system" in result.said["ro"]
    assert differences(before, facts(furnished.root)) == []


def test_the_same_root_twice_in_one_sandbox_is_writable_only_where_it_is_mounted_so(furnished: Ground) -> None:
    root = furnished.root
    ways = {
        "whole": (volume("rw", root / "below"), volume("ro", root, readOnly=True)),
        "same": (volume("rw", root / "below"), volume("ro", root / "below", readOnly=True)),
        "sub-path": (volume("ro", root, subPath="below", readOnly=True), volume("rw", root, subPath="below")),
    }
    before = facts(root)
    attempts = {n: Attempt(v, WRITE_EVERYWHERE, places("/mnt/ro", "/mnt/ro/below")) for n, v in ways.items()}
    result = furnished.attack(attempts)
    assert result.settled == dict.fromkeys(ways, COMPLETED) and not result.escaped, result.evidence
    assert differences(before, facts(root)) == []
    write = {n: Attempt(v, f'echo "{n}" > /mnt/rw/from-{n} && cat /mnt/ro/from-{n} /mnt/ro/below/from-{n}; exit 0')
             for n, v in ways.items()}  # fmt: skip
    said = furnished.attack({f"w-{n}": attempt for n, attempt in write.items()}).said
    assert {n: (root / "below" / f"from-{n}").read_text() for n in ways} == {n: f"{n}\n" for n in ways}
    assert all(f"{n}\n" in said[f"w-{n}"] for n in ways), said


def test_the_same_root_in_two_sandboxes_is_writable_only_in_the_one_that_mounts_it_so(furnished: Ground) -> None:
    before = facts(furnished.root / "below")
    write = "echo rw > /mnt/data/by-the-writer"
    result = furnished.attack(
        {
            "writer": Attempt((host_volume(furnished.root),), write),
            "reader": Attempt(
                (host_volume(furnished.root, readOnly=True),), WRITE_EVERYWHERE, places("/mnt/data/below")
            ),
        }
    )
    assert result.settled == {"writer": COMPLETED, "reader": COMPLETED} and not result.escaped, result.evidence
    assert (furnished.root / "by-the-writer").read_text() == "rw\n"
    assert differences(before, facts(furnished.root / "below")) == []


@pytest.mark.parametrize("what", ["tmpfs", "a directory outside"])
def test_what_the_host_has_mounted_below_a_read_only_root_is_read_only_too(
    furnished: Ground, sandboxes: Sandboxes, what: str
) -> None:
    """Without recursive read-only mounts such a place is writable: only the uppermost mount was made read-only."""
    root, below = furnished.root, furnished.root / "below"
    source = "tmpfs" if what == "tmpfs" else str(furnished.canary.path / "open")
    with mounted(source, below):
        furnish(below)
        furnished.begin()
        before = facts(root)
        attempts = {
            "whole": Attempt((host_volume(root, readOnly=True),), WRITE_EVERYWHERE, places("/mnt/data/below")),
            "path": Attempt((host_volume(below, readOnly=True),), WRITE_EVERYWHERE, places("/mnt/data")),
            "sub": Attempt((host_volume(root, subPath="below", readOnly=True),), WRITE_EVERYWHERE, places("/mnt/data")),
        }
        result = furnished.attack(attempts)
        after = facts(root)
        sandboxes.apply("shown", host_volume(root, readOnly=True))
        shown = sandboxes.wait_ready("shown")["status"]["volumes"]
        furnished.end()
    assert result.settled == dict.fromkeys(attempts, COMPLETED), result.evidence
    assert all("Read-only file system" in said for said in result.said.values())
    assert differences(before, after) == [] and result.changed == []
    assert [v["recursiveReadOnly"] for v in shown] == ["Enabled"]


def test_a_read_only_root_is_not_written_by_way_of_a_writable_one(ground: Ground) -> None:
    result = write_through_a_writable_root(ground)
    assert not result.escaped, result.evidence
    refused = dict.fromkeys(("link", "link-deeper", "up", "aside"), "CreateContainerConfigError")
    denied = dict.fromkeys(("directly", "below"), "HostPathReadOnly")
    assert result.settled == {**refused, **denied, "both": COMPLETED}, result.evidence
