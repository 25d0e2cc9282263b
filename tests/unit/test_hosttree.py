"""The walk below a root, on real directories: it finds the links that lead out, and never goes there itself."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.host import tree as hosttree
from sandmount.host.tree import SHOWN, Limits, Tree, walk
from tests.unit.test_mounts_on_disk import ROOT, Step, places, targets, tree

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a directory in it, and one beside it."""
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    return tmp_path.resolve() / "root"


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def walked(root: Path, limits: Limits | None = None) -> Tree:
    """The walk through a root. It leaves no descriptor open."""
    before = open_descriptors()
    descriptor = os.open(root, os.O_PATH)
    try:
        found = walk(str(root), descriptor, limits or Limits())
    finally:
        os.close(descriptor)
    assert open_descriptors() == before
    return found


LEADS_OUT = {
    "absolute": "/etc",
    "to the top": "/",
    "relative": "../other",
    "up": "..",
    "far up": "../../../../../../../../../../etc",
    "through a directory": "a/b/../../../other/x",
    "over there and back": "../other/../root/a",
    "through what is not there": "gone/../../other",
    "through what is not there, twice": "gone/gone/../../..",
    "a name like the root's": "../root2",
    "down and up a link": "a/to-root/../../other",
    "chain": "relative",
    "longer than a name can be": "../" + "x" * 300,
}
STAYS = {
    "itself": ".",
    "inside": "a/b",
    "absolute inside": "{root}/a",
    "absolute, the root": "{root}",
    "up and back": "a/../a/b",
    "around": "../root/a",
    "around from the top": "{root}/../root/a/b/..",
    "dangling": "gone",
    "dangling below": "a/gone/gone/..",
    "loop": "loop",
    "through a link inside": "inside/../../a",
    "a long name": "x" * 300,
}


def test_links_that_lead_out_are_found_and_the_others_are_not(root: Path) -> None:
    (root / "a" / "to-root").symlink_to("..")
    for name, target in (LEADS_OUT | STAYS).items():
        (root / name).symlink_to(target.format(root=root))
    found = walked(root)
    assert dict(found.first_links_out) == LEADS_OUT
    assert found.links_out == len(LEADS_OUT)
    assert found.files == len(LEADS_OUT) + len(STAYS) + 3
    assert found.complete and not found.unread


def test_links_deeper_in_are_resolved_from_where_they_are(root: Path) -> None:
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "b" / "out").symlink_to("../../../other")
    (root / "a" / "b" / "in").symlink_to("../../a")
    (root / "a" / "b" / "over-up").symlink_to("../up/../other")
    assert walked(root).first_links_out == (("a/b/out", "../../../other"), ("a/b/over-up", "../up/../other"))


def test_nothing_behind_a_link_is_counted(root: Path) -> None:
    for i in range(5):
        (root.parent / "other" / str(i)).touch()
    (root / "out").symlink_to("../other")
    (root / "again").symlink_to("a")
    assert walked(root).files == 4


def test_names_that_nobody_can_read_are_kept_as_they_are(root: Path) -> None:
    name = os.fsdecode(b"\xff\n\x1b[31m")
    target = os.fsdecode(b"/etc/\xfe")
    (root / name).symlink_to(target)
    assert walked(root).first_links_out == ((name, target),)


def test_the_first_links_by_name_are_named_and_all_are_counted(root: Path) -> None:
    for i in range(1500):
        (root / f"{i:04}").symlink_to("/")
    found = walked(root)
    assert found.links_out == 1500
    assert [path for path, _ in found.first_links_out] == [f"{i:04}" for i in range(SHOWN)]


def test_the_walk_ends_at_its_limit_and_says_so(root: Path) -> None:
    for i in range(20):
        (root / f"f{i}").touch()
    assert walked(root, Limits(max_files=22)).complete
    found = walked(root, Limits(max_files=21))
    assert (found.complete, found.files) == (False, 22)


def test_resolving_links_is_bounded_too(root: Path) -> None:
    (root / "long").symlink_to("a/../" * 500)
    assert walked(root, Limits(max_files=1000)).complete
    assert not walked(root, Limits(max_files=10)).complete


def test_directories_that_lie_too_deep_are_said_to_be_unread(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosttree, "MAX_DEPTH", 3)
    (root / "a" / "b" / "c" / "d" / "e").mkdir(parents=True)
    found = walked(root)
    assert found.first_unread == (("a/b/c/d", "it lies more than 3 directories deep"),)


def test_the_deepest_tree_that_is_walked_fits_into_the_usual_number_of_descriptors(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(hosttree.MAX_DEPTH + 5):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.symlink("/etc", "out", dir_fd=here)
    os.close(here)
    found = walked(root)
    assert [reason for _, reason in found.first_unread] == ["it lies more than 200 directories deep"]
    assert (found.unread, found.links_out) == (1, 0)
    shutil.rmtree(root / "d")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, where the tests have them: root may read every directory."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_directory_that_may_not_be_read_is_said_to_be_unread(root: Path) -> None:
    (root / "a").chmod(0)
    (root / "z").symlink_to("a/b/../../../other")
    descriptor = os.open(root, os.O_PATH)
    with as_nobody():
        found = walk(str(root), descriptor, Limits())
    os.close(descriptor)
    (root / "a").chmod(0o755)
    assert found.first_unread == (("a", "Permission denied"),)
    assert found.first_links_out == (("z", "a/b/../../../other"),)  # what it cannot see is taken for directories


def test_a_directory_that_becomes_a_link_under_the_walk_leads_nowhere(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant exchanges the two between the moment when the walk learns that it is a directory and its open."""
    (root.parent / "other" / "canary").symlink_to("/canary")
    scandir = os.scandir

    @contextmanager
    def exchanging(descriptor: int) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(descriptor) as entries:
            found = list(entries)
        if any(e.name == "b" for e in found):
            (root / "a" / "b").rmdir()
            (root / "a" / "b").symlink_to("../../other")
        yield found

    monkeypatch.setattr(os, "scandir", exchanging)
    found = walked(root)
    assert (found.files, found.unread) == (2, 0)
    assert found.first_links_out == (("a/b", "../../other"),)


_steps = st.lists(
    st.tuples(st.sampled_from(["directory", "file", "link", "link", "link"]), places, targets), max_size=10
)


@given(_steps)
def test_every_link_through_which_the_kernel_gets_out_is_found(made: list[Step]) -> None:
    with tree(made) as top:
        root = top / ROOT
        out = {path for path, _ in walked(root).first_links_out}
        for link in (p for p in root.rglob("*") if p.is_symlink()):
            try:
                led_to = link.resolve(strict=True)
            except (OSError, RuntimeError):
                continue
            assert led_to.is_relative_to(root) or str(link.relative_to(root)) in out
