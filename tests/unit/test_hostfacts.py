"""What is found at a root, on real directories and, where the tests run as root, on real mounts."""

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandmount.host.facts import Ancestor, in_user_namespace, look
from sandmount.host.tree import Limits

LIMITS = Limits()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory with a root in it."""
    found = tmp_path.resolve()
    (found / "outer" / "root").mkdir(parents=True)
    return found


def test_ancestors_are_told_from_the_top_with_owner_and_mode(top: Path) -> None:
    (top / "outer").chmod(0o1775)
    found = look(str(top / "outer" / "root"), LIMITS)
    assert [a.path for a in found.ancestors] == [*(str(p) for p in reversed(top.parents)), str(top), f"{top}/outer"]
    assert found.ancestors[0] == Ancestor("/", 0, Path("/").stat().st_mode & 0o7777)
    assert found.ancestors[-1] == Ancestor(f"{top}/outer", os.geteuid(), 0o1775)
    assert (found.trouble, found.missing) == (None, False)
    assert found.tree is not None and found.tree.complete


def test_an_acl_through_which_somebody_may_write_shows_in_the_mode(top: Path) -> None:
    """acl(5): with an ACL, the group bits of the mode are its mask, which bounds all but owner and others."""
    outer = top / "outer"
    outer.chmod(0o755)
    anyone = 0xFFFFFFFF
    entries = [(0x01, 7, anyone), (0x02, 7, 1000), (0x04, 5, anyone), (0x10, 7, anyone), (0x20, 5, anyone)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(outer, "system.posix_acl_access", acl)
    assert look(f"{outer}/root", LIMITS).ancestors[-1].mode == 0o775
    outer.chmod(0o755)
    assert look(f"{outer}/root", LIMITS).ancestors[-1].mode == 0o755  # now user 1000 may no longer write


def test_a_link_is_named_wherever_it_stands_and_is_not_followed(top: Path) -> None:
    (top / "outer" / "link").symlink_to("root")
    (top / "over").symlink_to(top / "outer")
    (top / "outer" / "root" / "secret").symlink_to("/etc")
    words = "which the kubelet follows; write where it leads"
    itself, inside = look(f"{top}/outer/link", LIMITS), look(f"{top}/over/root", LIMITS)
    assert itself.trouble == f'it is a link to "root", {words}'
    assert inside.trouble == f'"{top}/over": it is a link to "{top}/outer", {words}'
    assert itself.tree is inside.tree is None
    assert len(inside.ancestors) == len(top.parts)


@pytest.mark.parametrize(
    ("below", "trouble", "missing"),
    [
        ("gone", "there is no such directory", True),
        ("gone/root", '"{top}/gone": there is no such directory', True),
        ("file", "it is not a directory", False),
        ("file/root", '"{top}/file": it is not a directory', False),
        ("pipe", "it is not a directory", False),
        ("x" * 300, "it cannot be looked at: File name too long", False),
    ],
)
def test_what_is_no_directory_is_said(top: Path, below: str, trouble: str, missing: bool) -> None:
    (top / "file").touch()
    os.mkfifo(top / "pipe")
    found = look(f"{top}/{below}", LIMITS)
    assert (found.trouble, found.missing, found.tree) == (trouble.format(top=top), missing, None)


def test_the_mount_is_the_one_that_the_root_lies_in(top: Path) -> None:
    found = look(str(top / "outer" / "root"), LIMITS).mount
    assert found is not None
    wanted = subprocess.run(["stat", "--format=%m", str(top)], capture_output=True, text=True, check=True)
    assert found.point == wanted.stdout.strip()


def test_this_process_is_in_no_user_namespace_unless_the_kernel_says_so() -> None:
    assert in_user_namespace() == (Path("/proc/self/uid_map").read_text().split()[-1] != "4294967295")


needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def mount(*arguments: str | Path) -> None:
    """mount(8)."""
    subprocess.run(["mount", *map(str, arguments)], check=True)


@pytest.fixture
def mounted(top: Path) -> Iterator[Path]:
    """A root on a tmpfs of its own, bound to a second place, with two mounts below it."""
    root = top / "outer" / "root"
    mount("-t", "tmpfs", "-o", "nosuid,nodev,nosymfollow,mode=755", "tmpfs", root)
    try:
        for name in ("inner", "in ner", "bound"):
            (root / name).mkdir()
        (top / "elsewhere").mkdir()
        mount("-t", "tmpfs", "-o", "noexec", "tmpfs", root / "in ner")
        mount("--bind", root / "inner", top / "elsewhere")
        mount("--bind", top / "outer", root / "bound")
        mount("-o", "remount,bind,ro", root / "bound")
        yield root
    finally:
        for place in (top / "elsewhere", root / "bound", root / "in ner", root):
            subprocess.run(["umount", str(place)], check=False, capture_output=True)


@needs_mounts
def test_flags_and_mounts_below_are_those_of_the_kernel(mounted: Path) -> None:
    found = look(str(mounted), LIMITS)
    assert found.mount is not None
    assert (found.mount.point, found.mount.file_system, found.mount.missing) == (str(mounted), "tmpfs", ())
    assert [(m.point, m.read_only, m.missing) for m in found.submounts] == [
        (f"{mounted}/bound", True, ("nosymfollow", "nosuid", "nodev")),
        (f"{mounted}/in ner", False, ("nosymfollow", "nosuid", "nodev")),
    ]


@needs_mounts
def test_what_is_mounted_below_is_walked_unless_it_is_to_be_left_out(mounted: Path) -> None:
    (mounted / "in ner" / "file").touch()
    (mounted / "in ner" / "out").symlink_to("/etc")
    everything, one = look(str(mounted), LIMITS).tree, look(str(mounted), Limits(one_file_system=True)).tree
    assert everything is not None and one is not None
    assert everything.first_links_out == (("in ner/out", "/etc"),)
    assert (one.links_out, one.files) == (0, 3)


@needs_mounts
def test_a_root_that_is_bound_elsewhere_is_found_in_its_place_on_the_disk(mounted: Path) -> None:
    bound = look(str(mounted.parents[1] / "elsewhere"), LIMITS).mount
    itself = look(str(mounted), LIMITS).mount
    assert bound is not None and itself is not None
    assert (bound.device, bound.top) == (itself.device, "/inner")
