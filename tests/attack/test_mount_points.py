"""Where a volume is mounted and where a container begins: what leads into the runtime is refused or harmless."""

import os

from tests.attack.ground import COMPLETED, GREEDY, REFUSED_BY_API, Attempt, Ground
from tests.support.fixtures import USER, host_volume

RUNTIME_PLACES = (
    "/", "//", "/.", "/proc", "/proc/", "/proc/1", "/proc/self/root", "/proc/sys/kernel", "/sys", "/sys/fs/cgroup",
    "/dev", "/dev/shm", "/dev/termination-log",  # noqa: S108
    "/dev/../proc", "/etc", "//etc", "/etc/", "/./etc", "/mnt/../etc",
    "/mnt/../../etc", "/mnt/./../proc", "/run", "/var/run", "/var/../run", "etc", "../etc", "", "/mnt/data:ro",
    "/mnt:/", "/mnt\0/../etc", "/\u200betc",
)  # fmt: skip

NESTED = (("/mnt/data", "/mnt/data/inner"), ("/mnt/data/inner", "/mnt/data"), ("/mnt/data", "/mnt/data"))

REDIRECT = """
[ -e /work/redirected ] && {{ ls -la /work/ /work/a/ {target}; cat {target}/secret.txt "{target}/data/file"; exit 0; }}
mv /work/a /work/b && ln -s "{target}" /work/a && touch /work/redirected
exit 1
"""
"""Puts a link into the way to a mount point, inside the Sandbox's own emptyDir, and starts again."""

DESCRIPTORS = range(3, 13)
CLIMB = f"""
up=../../../../../../../../../..
cat "$up$CANARY/secret.txt" "./$CANARY/secret.txt"; echo greed > "$up$CANARY/was-here"
{GREEDY}
"""


def test_places_of_the_runtime_are_refused_by_the_api_server(ground: Ground) -> None:
    attempts = {
        f"at-{number}": Attempt((host_volume(ground.root, place),)) for number, place in enumerate(RUNTIME_PLACES)
    }
    result = ground.attack(attempts)
    assert result.settled == dict.fromkeys(attempts, REFUSED_BY_API), result.evidence
    assert all("mountPath" in said for said in result.said.values()), result.evidence


def test_host_directories_are_not_mounted_inside_one_another(ground: Ground) -> None:
    """The runtime would make the inner mount point in what a tenant can write."""
    pairs = {
        f"pair-{number}": Attempt((host_volume(ground.root, one), host_volume(ground.root, other) | {"name": "other"}))
        for number, (one, other) in enumerate(NESTED)
    }
    result = ground.attack(pairs)
    assert result.settled == dict.fromkeys(pairs, REFUSED_BY_API), result.evidence
    assert list(ground.root.iterdir()) == []


def test_a_link_on_the_way_to_a_mount_point_leads_nowhere_outside_of_the_container(ground: Ground) -> None:
    (ground.root / "file").write_text("data\n")
    targets = (str(ground.canary.path), "/etc", "/proc/self", "/proc/1/root", "/../../../..", "/dev", "/sys/fs/cgroup")
    volumes = (
        {"name": "work", "emptyDir": {}, "mountPath": "/work"},
        host_volume(ground.root, "/work/a/data"),
    )
    again = {"restartPolicy": "OnFailure"}
    attempts = {
        f"to-{number}": Attempt(volumes, REDIRECT.format(target=target), again) for number, target in enumerate(targets)
    }
    result = ground.attack(attempts)
    assert not result.escaped, result.evidence
    assert result.settled["to-0"] == result.settled["to-1"] == COMPLETED, result.evidence
    assert "data" in result.said["to-0"], result.evidence
    assert {path.name for path in ground.root.iterdir()} == {"file"}


def test_a_working_directory_that_is_a_link_into_the_runtime_leads_nowhere(ground: Ground) -> None:
    """CVE-2024-21626: runc once began in a descriptor of its own, from which ".." went up on the host."""
    for number in DESCRIPTORS:
        (ground.root / f"fd-{number}").symlink_to(f"/proc/self/fd/{number}")
        os.chown(ground.root / f"fd-{number}", USER, USER, follow_symlinks=False)
    attempts = {
        f"fd-{n}": Attempt((host_volume(ground.root),), CLIMB, {"workingDir": f"/mnt/data/fd-{n}"}) for n in DESCRIPTORS
    }
    attempts["named"] = Attempt((host_volume(ground.root),), CLIMB, {"workingDir": "/proc/self/fd/7"})
    result = ground.attack(attempts)
    assert not result.escaped, result.evidence
    assert result.settled["named"] == REFUSED_BY_API, result.evidence
