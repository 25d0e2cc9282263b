"""Host directories inside Sandboxes, and everything that tries to lead out of them, judged by the host's own files."""

import os
from pathlib import Path

import pytest

from tests.support import Json, Kube
from tests.support.fixtures import USER, Sandboxes, host_volume
from tests.support.kubectl import condition_of

CANARY = "what-nobody-inside-may-read"


@pytest.fixture
def outside(host: Path) -> Path:
    """A directory next to the root, which a Sandbox's user could read and write if it ever got there."""
    folder = host / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(CANARY)
    for path in (folder, folder / "secret.txt"):
        os.chown(path, USER, USER)
    return folder


def owned(path: Path, text: str | None = None) -> Path:
    """A directory, or a file with this text, that belongs to the Sandboxes' user."""
    if text is None:
        path.mkdir(parents=True)
    else:
        path.write_text(text)
    os.chown(path, USER, USER)
    return path


def test_a_writable_mount_writes_to_the_host_directory(sandboxes: Sandboxes, shared: Path) -> None:
    owned(shared / "marker.txt", "hello")
    sandboxes.apply("rw", host_volume(shared))
    sandboxes.wait_ready("rw")
    assert sandboxes.sh("rw", "cat /mnt/data/marker.txt && echo written > /mnt/data/new.txt") == (0, "hello")
    assert (shared / "new.txt").read_text() == "written\n"
    assert (shared / "new.txt").stat().st_uid == USER


def test_a_read_only_mount_refuses_writes_also_below_a_mount_of_the_host(sandboxes: Sandboxes, shared: Path) -> None:
    below = owned(shared / "below")
    assert os.system(f"mount -t tmpfs -o uid={USER} tmpfs {below}") == 0  # noqa: S605 - a path of our own
    try:
        sandboxes.apply("ro", host_volume(shared, readOnly=True))
        granted = sandboxes.wait_ready("ro")["status"]["volumes"]
        code, said = sandboxes.sh("ro", "echo x > /mnt/data/new.txt")
        below_code, below_said = sandboxes.sh("ro", "echo x > /mnt/data/below/new.txt")
        sandboxes.delete("ro")
    finally:
        assert os.system(f"umount {below}") == 0  # noqa: S605
    assert code != 0 and "Read-only file system" in said
    assert granted == [{"name": "data", "root": str(shared), "readOnly": True, "recursiveReadOnly": "Enabled"}]
    assert below_code != 0 and "Read-only file system" in below_said
    assert not (shared / "new.txt").exists()


def test_path_below_the_root_and_sub_path_are_mounted_through_the_root(sandboxes: Sandboxes, shared: Path) -> None:
    train = owned(shared / "datasets" / "train")
    owned(train / "data.csv", "id,value\n")
    sandboxes.apply("sub", host_volume(shared / "datasets", subPath="train"))
    sandboxes.wait_ready("sub")
    assert sandboxes.sh("sub", "ls /mnt/data") == (0, "data.csv\n")
    pod = sandboxes.pod("sub")
    assert pod is not None
    assert pod["spec"]["volumes"] == [{"name": "data", "hostPath": {"path": str(shared), "type": "Directory"}}]
    assert pod["spec"]["containers"][0]["volumeMounts"] == [
        {"name": "data", "mountPath": "/mnt/data", "subPath": "datasets/train"}
    ]


LEADING_OUT: dict[str, tuple[str, str | None]] = {
    "as-path": ("link", None),
    "as-sub-path": ("", "link"),
    "in-path": ("link/deeper", None),
    "in-sub-path": ("", "link/deeper"),
    "in-the-middle": ("middle/link/deeper", None),
    "relative": ("relative-link", None),
    "through-another": ("chain", None),
}
"""Name to host.path below the root, and subPath."""


def test_a_link_that_leads_out_is_not_followed(sandboxes: Sandboxes, shared: Path, outside: Path) -> None:
    owned(outside / "deeper")
    owned(shared / "middle")
    (shared / "link").symlink_to(outside)
    (shared / "middle" / "link").symlink_to(outside)
    (shared / "relative-link").symlink_to("../outside")
    (shared / "chain").symlink_to("link")
    before = snapshot(outside)
    greedy = ["sh", "-c", "touch /mnt/data/was-here; cat /mnt/data/*; sleep 60"]
    names = []
    for name, (path, sub_path) in LEADING_OUT.items():
        for kind, read_only in (("rw", False), ("ro", True)):
            volume = host_volume(shared / path, readOnly=read_only, **({"subPath": sub_path} if sub_path else {}))
            sandboxes.apply(f"{name}-{kind}", volume, entrypoint=greedy)
            names.append(f"{name}-{kind}")
    for name in names:
        ready = sandboxes.wait_reason(name, "CreateContainerConfigError")
        assert f'a link there that leads out of "{shared}" is refused' in ready["message"]
        assert never_ran(sandboxes.pod(name)), name
        code, said = sandboxes.sh(name, "cat /mnt/data/secret.txt")
        assert code != 0 and CANARY not in said
    assert snapshot(outside) == before


def test_a_link_that_stays_inside_works(sandboxes: Sandboxes, shared: Path) -> None:
    real = owned(shared / "v2")
    owned(real / "data.txt", "inside")
    (shared / "current").symlink_to("v2")
    sandboxes.apply("inside", host_volume(shared / "current"))
    sandboxes.wait_ready("inside")
    assert sandboxes.sh("inside", "cat /mnt/data/data.txt") == (0, "inside")


def test_a_link_followed_inside_the_container_leads_to_the_container_s_own_files(
    sandboxes: Sandboxes, shared: Path, outside: Path
) -> None:
    sandboxes.apply("in", host_volume(shared))
    sandboxes.wait_ready("in")
    code, said = sandboxes.sh("in", f"ln -s {outside} /mnt/data/link; cat /mnt/data/link/secret.txt")
    assert code != 0 and CANARY not in said
    assert (shared / "link").is_symlink()


def test_a_file_at_the_root_s_place_is_not_mounted(sandboxes: Sandboxes, kube: Kube, host: Path) -> None:
    owned(host / "file", CANARY)
    kube.set_allowlist(f"- {host / 'file'}\n")
    sandboxes.apply("file", host_volume(host / "file"))
    sandboxes.wait_reason("file", "FailedMount")
    assert never_ran(sandboxes.pod("file"))


def test_the_users_of_a_0700_directory_enter_it_and_others_do_not(sandboxes: Sandboxes, shared: Path) -> None:
    shared.chmod(0o700)
    sandboxes.apply("owner", host_volume(shared))
    sandboxes.apply("root", host_volume(shared), securityContext={"runAsUser": 0})
    sandboxes.wait_ready("owner")
    sandboxes.wait_ready("root")
    assert sandboxes.sh("owner", "ls /mnt/data")[0] == 0
    code, said = sandboxes.sh("root", "ls /mnt/data")
    assert code != 0 and "Permission denied" in said  # uid 0 without capabilities


def never_ran(pod: Json | None) -> bool:
    """Whether a Pod is there whose container has never been started."""
    assert pod is not None
    found = (pod["status"].get("containerStatuses") or [{}])[0]
    states = {**(found.get("state") or {}), **(found.get("lastState") or {})}
    return not {"running", "terminated"} & set(states) and not found.get("restartCount")


def snapshot(folder: Path) -> dict[str, tuple[float, str]]:
    """All names below a folder, with the time of change and the content."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime, p.read_text() if p.is_file() else "")
        for p in [folder, *folder.rglob("*")]
    }


def test_the_condition_says_which_entry_granted(sandboxes: Sandboxes, shared: Path) -> None:
    owned(shared / "a")
    sandboxes.apply("granted", host_volume(shared / "a"))
    found = sandboxes.wait_ready("granted")
    assert found["status"]["volumes"] == [
        {"name": "data", "root": str(shared), "subPath": "a", "readOnly": False},
    ]
    allowed = condition_of(found, "VolumesAllowed")
    assert allowed is not None and allowed["status"] == "True"
