"""On real directory trees with links: what is granted and mounted the kubelet's way stays inside the root.

The model of the kubelet follows pkg/volume/util/subpath/subpath_linux.go (safeMakeDir and doSafeOpen): a hostPath is
mounted wherever its links lead; a subPath is resolved, must lie within the resolved root, and is then opened component
by component without following a link.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandmount import paths
from sandmount.allowlist import Grant
from sandmount.api import SandboxSpec, parse_spec
from tests.unit.builders import NAMESPACE, host, roots

ROOT = "allowed"
"""Name of the root in a tree; beside it stands ``outside``, which nobody may reach."""


class EscapeError(Exception):
    """The kubelet refuses a subPath that leads out of its volume."""


def mounted_by_host_path(path: str) -> Path:
    """What a Pod gets from a hostPath: the mount follows every link."""
    return Path(path).resolve(strict=True)


def mounted_by_sub_path(root: str, sub_path: str) -> Path:
    """What a Pod gets from a hostPath with a subPath. OSError and EscapeError are a Pod that does not start."""
    base = Path(root).resolve(strict=True)
    full = (base / sub_path).resolve(strict=True)
    if not full.is_relative_to(base):
        raise EscapeError(full)
    descriptor = os.open(base, os.O_DIRECTORY)
    try:
        for part in full.relative_to(base).parts:
            inner = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    finally:
        os.close(descriptor)


def grant_for(root: Path, path: str, sub_path: str | None) -> Grant | None:
    """The grant of an allowlist whose only entry is ``root``, or None when the volume is refused."""
    found = parse_spec({"image": "ubuntu", "volumes": [host(path, subPath=sub_path)]})
    if not isinstance(found, SandboxSpec):
        return None
    decision = roots(str(root)).decide(NAMESPACE, found.volumes[0])
    return decision if isinstance(decision, Grant) else None


NAMES = ["a", "b", "c"]
Step = tuple[str, str, str]  # what to make, where (relative to the tree), and for a link its target

places = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(lambda p: "/".join([ROOT, *p]))
targets = st.sampled_from(
    [
        "a",
        "b",
        "a/b",
        ".",
        "..",
        "../a",
        "../..",
        "../outside",
        "../../outside/a",
        "../../../outside",
        "gone",
        "/",
        "{tree}",
        "{tree}/outside",
        "{tree}/outside/a",
        "{tree}/allowed",
        "{tree}/allowed/a",
        "{tree}/allowed/../outside",
        "/etc",
        "c/../..",
    ]
)
steps = st.lists(
    st.tuples(st.sampled_from(["directory", "file", "link", "link", "link"]), places, targets), max_size=10
)
below_root = st.lists(st.sampled_from(NAMES), max_size=4).map("/".join)


@contextmanager
def tree(made: list[Step]) -> Iterator[Path]:
    """A directory with a root in it, things in the root, and an outside that is not allowed."""
    with tempfile.TemporaryDirectory() as made_here:
        top = Path(made_here).resolve()
        (top / "outside" / "a" / "b").mkdir(parents=True)
        (top / ROOT).mkdir()
        for kind, place, target in made:
            where = top / place
            try:
                if not where.parent.resolve(strict=False).is_relative_to(top / ROOT):
                    continue  # the tree is made by the test, and must not follow its own links out
                where.parent.mkdir(parents=True, exist_ok=True)
                if kind == "directory":
                    where.mkdir(exist_ok=True)
                elif kind == "file":
                    where.touch()
                else:
                    where.symlink_to(target.format(tree=top))
            except (OSError, RuntimeError):
                continue  # something else stands there, or a loop of links
        yield top


@settings(max_examples=300)
@given(steps, below_root, st.none() | below_root)
def test_what_is_granted_and_mounted_resolves_inside_the_root(
    made: list[Step], path: str, sub_path: str | None
) -> None:
    with tree(made) as top:
        root = top / ROOT
        grant = grant_for(root, paths.join(str(root), path), sub_path)
        if grant is None:
            assert sub_path == ""
            return
        assert grant.root == str(root)
        try:
            mounted = mounted_by_sub_path(grant.root, grant.sub_path)
        except (OSError, RuntimeError, EscapeError):
            return
        assert mounted.is_relative_to(root)
        assert not mounted.is_relative_to(top / "outside")


LEADING_OUT: list[tuple[list[Step], str, str | None]] = [
    ([("link", "allowed/a", "{tree}/outside")], "a", None),
    ([("link", "allowed/a", "../outside")], "a/a", None),
    ([("link", "allowed/a", "..")], "a", "outside"),
    ([("link", "allowed/a", "b"), ("link", "allowed/b", "../outside")], "a", None),
    ([("directory", "allowed/a", ""), ("link", "allowed/a/b", "../../outside/a")], "a", "b"),
    ([("link", "allowed/a", "{tree}/allowed/../outside")], "a", None),
    ([("link", "allowed/a", "/etc")], "a", None),
]


@pytest.mark.parametrize(("made", "path", "sub_path"), LEADING_OUT)
def test_a_link_that_leads_out_escapes_as_raw_host_path_and_is_refused_as_sub_path(
    made: list[Step], path: str, sub_path: str | None
) -> None:
    with tree(made) as top:
        root = top / ROOT
        asked = paths.join(str(root), path)
        assert not mounted_by_host_path(paths.join(asked, sub_path or "")).is_relative_to(root)
        grant = grant_for(root, asked, sub_path)
        assert grant is not None
        with pytest.raises(EscapeError):
            mounted_by_sub_path(grant.root, grant.sub_path)


@pytest.mark.parametrize(
    ("made", "path", "expected"),
    [
        ([("directory", "allowed/b/c", ""), ("link", "allowed/a", "b")], "a/c", "b/c"),
        ([("directory", "allowed/b/c", ""), ("link", "allowed/a", "{tree}/allowed/b")], "a/c", "b/c"),
        ([("directory", "allowed/b", ""), ("link", "allowed/b/a", "..")], "b/a/b", "b"),
        ([("link", "allowed/a", ".")], "a/a/a", ""),
        ([("file", "allowed/a", "")], "a", "a"),
    ],
)
def test_a_link_that_stays_inside_works(made: list[Step], path: str, expected: str) -> None:
    with tree(made) as top:
        grant = grant_for(top / ROOT, f"{top}/{ROOT}/{path}", None)
        assert grant is not None
        assert mounted_by_sub_path(grant.root, grant.sub_path) == top / ROOT / expected


@pytest.mark.parametrize(
    "made",
    [
        [("link", "allowed/a", "gone")],
        [("link", "allowed/a", "a")],
        [("link", "allowed/a", "b"), ("link", "allowed/b", "a")],
    ],
)
def test_a_link_that_dangles_or_loops_mounts_nothing(made: list[Step]) -> None:
    with tree(made) as top:
        grant = grant_for(top / ROOT, f"{top}/{ROOT}/a", None)
        assert grant is not None
        with pytest.raises((OSError, RuntimeError)):
            mounted_by_sub_path(grant.root, grant.sub_path)


@pytest.mark.parametrize("asked", ["{tree}/outside", "{tree}/allowedx", "{tree}", "{tree}/allowed/../outside"])
def test_what_lies_beside_the_root_is_never_granted(asked: str) -> None:
    with tree([]) as top:
        assert grant_for(top / ROOT, asked.format(tree=top), None) is None
        assert grant_for(top / ROOT, asked.format(tree=top), "a") is None
