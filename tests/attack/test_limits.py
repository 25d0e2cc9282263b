"""What is not promised, as docs/threat-model.md says it: shown here, so that the document stays true."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.ground import COMPLETED, Attempt, Ground
from tests.attack.mounts import mounted
from tests.support.fixtures import USER, host_volume

LEAVE_SETUID = "cp /mnt/data/id /mnt/data/left && chmod 4755 /mnt/data/left && stat -c '%u %a' /mnt/data/left"
AS_ROOT = {"securityContext": {"runAsUser": 0, "runAsGroup": 0}}
STRANGER = 4321


@pytest.fixture(params=["ordinary", "nosuid"])
def file_system(request: pytest.FixtureRequest, shared: Path) -> Iterator[str]:
    """The root on a file system with and without setuid files."""
    if request.param == "ordinary":
        yield "ordinary"
        return
    with mounted("tmpfs", shared, "nosuid,nodev"):
        yield "nosuid"


def test_a_setuid_file_that_a_container_leaves_works_on_the_host_unless_mounted_nosuid(
    ground: Ground, file_system: str
) -> None:
    if os.getuid():
        pytest.skip("a container's root is the host's root only where the host's root runs the test")
    ground.root.chmod(0o777)
    program = shutil.which("id")
    assert program
    shutil.copy(program, ground.root / "id")
    result = ground.attack({"leaver": Attempt((host_volume(ground.root),), LEAVE_SETUID, AS_ROOT)})
    assert result.settled == {"leaver": COMPLETED} and result.said == {"leaver": "0 4755\n"}, result.evidence
    done = subprocess.run(
        [str(ground.root / "left"), "-u"], user=STRANGER, group=STRANGER, extra_groups=[], capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == {"ordinary": "0", "nosuid": str(STRANGER)}[file_system]


def test_a_pipe_in_a_read_only_root_can_be_written_to(ground: Ground) -> None:
    """Read-only protects files and directories; whoever listens at a pipe or socket in a root listens to Sandboxes."""
    pipe = ground.root / "pipe"
    os.mkfifo(pipe)
    os.chown(pipe, USER, USER)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        volume = host_volume(ground.root, readOnly=True)
        result = ground.attack({"writer": Attempt((volume,), "echo hello > /mnt/data/pipe")})
        assert result.settled == {"writer": COMPLETED}, result.evidence
        assert os.read(reader, 100) == b"hello\n"
    finally:
        os.close(reader)


def test_a_directory_that_is_missing_is_made_by_the_kubelet_for_read_only_volumes_too(ground: Ground) -> None:
    result = ground.attack({"typo": Attempt((host_volume(ground.root / "no" / "such", readOnly=True),))})
    assert result.settled == {"typo": COMPLETED} and not result.escaped, result.evidence
    made = ground.root / "no" / "such"
    assert made.is_dir() and list(made.iterdir()) == []


def test_a_hard_link_that_the_host_made_is_the_same_file(ground: Ground) -> None:
    """No container can make one across mounts; whoever made it on the host shared the file."""
    os.link(ground.canary.path / "open" / "secret.txt", ground.root / "shared.txt")
    ground.begin()
    result = ground.attack({"reader": Attempt((host_volume(ground.root),), "cat /mnt/data/shared.txt")})
    assert list(result.read) == ["output of reader"], result.evidence


def test_a_sandbox_chooses_its_user_so_owners_do_not_keep_sandboxes_apart(ground: Ground) -> None:
    private = ground.root / "private"
    private.write_text("of another tenant\n")
    private.chmod(0o600)
    os.chown(private, USER, USER)
    result = ground.attack({"other": Attempt((host_volume(ground.root),), "cat /mnt/data/private")})
    assert result.said == {"other": "of another tenant\n"}


def test_a_link_tells_whether_a_path_exists_on_the_node(ground: Ground) -> None:
    """The kubelet looks where a link leads before it refuses it: names can be guessed, contents cannot be had."""
    inside = ground.root / "inside"
    inside.mkdir()
    ways = {"there": "shut", "not-there": "guessed"}
    for name, guess in ways.items():
        (ground.root / name).symlink_to(ground.canary.path / guess / ".." / ".." / ground.root.name / "inside")
    result = ground.attack({name: Attempt((host_volume(ground.root / name),)) for name in ways})
    assert not result.escaped, result.evidence
    assert result.settled == {"there": COMPLETED, "not-there": "CreateContainerConfigError"}, result.evidence
