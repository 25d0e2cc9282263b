"""Order of unmounting, and that no deletion reaches through a mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import ClusterError
from tests.cluster.local.mounts import below, filesystem_of, mount_points, remove_folder

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw"


def line(point: str) -> str:
    """A line of mountinfo."""
    return f"90 27 254:0 /data {point} rw,relatime shared:7 - ext4 /dev/vda rw"


def test_escapes_of_the_kernel_are_undone() -> None:
    assert mount_points(line(r"/run/a\040b\134c")) == [Path("/run/a b\\c")]


def test_the_deepest_and_the_last_made_come_first() -> None:
    points = [Path(p) for p in ("/", "/run", "/run/a", "/run/a/b/c", "/runner/x", "/run/a", "/run/z/y")]
    assert below(points, Path("/run")) == [Path(p) for p in ("/run/a/b/c", "/run/z/y", "/run/a", "/run/a", "/run")]


def test_a_folder_with_a_mount_below_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    data = folder / "kubelet" / "subpath"
    data.mkdir(parents=True)
    (data / "file").write_text("somebody's")
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"{ROOT}\n{line(str(data))}\n")
    with pytest.raises(ClusterError, match="mounts below it"):
        remove_folder(folder, mountinfo)
    assert (data / "file").read_text() == "somebody's"


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    folder.mkdir()
    (outside / "file").write_text("kept")
    (folder / "link").symlink_to(outside)
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(ROOT)
    remove_folder(folder, mountinfo)
    assert not folder.exists()
    assert (outside / "file").read_text() == "kept"


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_folder(tmp_path / "no")


def test_every_folder_is_on_some_filesystem() -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("no /proc here")
    assert filesystem_of(Path("/proc")) == "proc"
