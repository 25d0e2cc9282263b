"""A container that has a root mounted and tries to make more of it, as an ordinary user and as root."""

import os
import stat
from pathlib import Path

import pytest

from tests.attack.canary import differences, facts
from tests.attack.ground import COMPLETED, Attempt, Ground
from tests.support import Json
from tests.support.fixtures import USER, host_volume

PRIVILEGES = """
grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status
exit 0
"""

BREAK_OUT = """
out="$CANARY/.."
for path in /mnt/data/.. "$out" "/proc/1/root/$out" "/proc/self/root/$out" /mnt/data/up /mnt/data/magic; do
  ls "$path"; cat "$path/secret.txt" "$path/outside/secret.txt" "$path$CANARY/secret.txt"
  echo greed > "$path/outside/was-here"
done
mount -t tmpfs tmpfs /mnt && echo mounted; mount --bind / /mnt && echo mounted; umount /mnt/data && echo unmounted
mount -o remount,suid,dev /mnt/data && echo mounted; unshare -m true && echo unshared; unshare -U true && echo unshared
nsenter -t 1 -m true && echo entered; chroot /mnt/data / && echo chrooted; pivot_root /mnt/data /mnt && echo pivoted
mknod /mnt/data/disk b 254 0 && echo made; mknod /mnt/data/memory c 1 1 && echo made
echo 1 > /proc/sys/kernel/core_pattern && echo configured; echo x > /proc/sysrq-trigger && echo configured
exit 0
"""
DONE = ("mounted", "unmounted", "unshared", "entered", "chrooted", "pivoted", "made", "configured")


def as_user(user: int) -> Json:
    """The part of a spec that says who the container runs as."""
    return {"securityContext": {"runAsUser": user, "runAsGroup": user}}


@pytest.mark.parametrize("user", [USER, 0])
def test_nothing_a_container_does_takes_it_out_of_its_root(ground: Ground, user: int) -> None:
    (ground.root / "up").symlink_to("..")
    (ground.root / "magic").symlink_to(f"/proc/1/root{ground.host}")
    ground.root.chmod(0o777)
    volumes = (host_volume(ground.root),)
    attempts = {"out": Attempt(volumes, BREAK_OUT, as_user(user)), "who": Attempt(volumes, PRIVILEGES, as_user(user))}
    result = ground.attack(attempts)
    assert not result.escaped, result.evidence
    assert result.settled == {"out": COMPLETED, "who": COMPLETED}, result.evidence
    assert not set(result.said["out"].split()) & set(DONE), result.evidence
    has = dict(line.split(":\t") for line in result.said["who"].splitlines())
    assert has == dict.fromkeys(has, "0000000000000000") | {"NoNewPrivs": "1", "Seccomp": "2"}, has
    assert len(has) == 7
    assert {path.name for path in ground.root.iterdir()} == {"up", "magic"}


def test_a_device_in_a_root_is_not_opened(ground: Ground) -> None:
    if os.getuid():
        pytest.skip("making a device needs root")
    disk = os.lstat("/").st_dev
    for name, kind, number in (("disk", stat.S_IFBLK, disk), ("memory", stat.S_IFCHR, os.makedev(1, 1))):
        os.mknod(ground.root / name, kind | 0o666, number)
        (ground.root / name).chmod(0o666)
    read = "head -c 1 /mnt/data/disk; head -c 1 /mnt/data/memory; head -c 1 /mnt/data; exit 0"
    ways = {"inside": host_volume(ground.root), "itself": host_volume(ground.root / "disk")}
    result = ground.attack({name: Attempt((volume,), read, as_user(0)) for name, volume in ways.items()})
    assert not result.escaped and result.settled == dict.fromkeys(ways, COMPLETED), result.evidence
    assert result.said["inside"].count("Operation not permitted") == 2, result.evidence
    assert "/mnt/data: Operation not permitted" in result.said["itself"], result.evidence


def test_a_file_of_one_root_gets_no_second_name_in_another(ground: Ground) -> None:
    other = ground.host / "other"
    other.mkdir()
    (other / "file").write_text("text\n")
    for each in (other, other / "file"):
        os.chown(each, USER, USER)
    ground.allow(f"- {ground.root}\n- {other}\n")
    ground.roots.append(other)
    link = "ln /mnt/other/file /mnt/data/file; ln /mnt/data/../other/file /mnt/data/file; exit 0"
    volumes = (host_volume(ground.root), host_volume(other, "/mnt/other") | {"name": "other"})
    result = ground.attack({"linker": Attempt(volumes, link)})
    assert result.settled == {"linker": COMPLETED}, result.evidence
    assert "Invalid cross-device link" in result.said["linker"]
    assert list(ground.root.iterdir()) == [] and (other / "file").stat().st_nlink == 1


def test_groups_of_a_sandbox_change_no_owner_and_no_mode_on_the_host(ground: Ground) -> None:
    """The kubelet gives volumes to fsGroup, with everything in them; not directories of the host."""
    folder = ground.root / "folder"
    folder.mkdir(mode=0o750)
    (folder / "file").write_text("text\n")
    (folder / "file").chmod(0o640)
    before = facts(ground.root)
    context = {"securityContext": {"runAsUser": USER, "fsGroup": 5555, "supplementalGroups": [6666]}}
    whole, part = Path(ground.root), Path(folder)
    attempts = {n: Attempt((host_volume(p),), "id; exit 0", context) for n, p in (("whole", whole), ("part", part))}
    result = ground.attack(attempts)
    assert result.settled == dict.fromkeys(attempts, COMPLETED) and not result.escaped, result.evidence
    assert "5555" in result.said["whole"]
    assert differences(before, facts(ground.root)) == []
