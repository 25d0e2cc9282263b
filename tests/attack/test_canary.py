"""The canary notices: whatever happens to its tree is told, and nothing is told when nothing happens."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.canary import SECRET, Canary, differences, facts
from tests.attack.race import made_by_kubelet

HAPPENINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file read": (lambda top: (top / SECRET).read_text(), f"changed: {SECRET}: accessed"),
    "a directory read": (lambda top: list((top / "deeper").iterdir()), "changed: deeper: accessed"),
    "a file appended to": (lambda top: (top / SECRET).open("a").write("x"), f"changed: {SECRET}: content"),
    "a new file": (lambda top: (top / "deeper" / "new").touch(), "new: deeper/new: -"),
    "a new directory": (lambda top: (top / "empty" / "new").mkdir(), "new: empty/new: d"),
    "a new link": (lambda top: (top / "new").symlink_to("/"), "new: new: l"),
    "a hard link elsewhere": (lambda top: os.link(top / SECRET, top.parent / "inside"), f"changed: {SECRET}: links"),
    "a file removed": (lambda top: (top / SECRET).unlink(), f"gone: {SECRET}"),
    "a file renamed": (lambda top: (top / SECRET).rename(top / "other"), "new: other: -"),
    "a mode": (lambda top: (top / SECRET).chmod(0o600), f"changed: {SECRET}: mode"),
    "a time": (lambda top: os.utime(top / "empty", (0, 0)), "changed: empty: modified"),
    "an attribute": (lambda top: os.setxattr(top / SECRET, "user.new", b"x"), f"changed: {SECRET}: attributes"),
    "a name made and removed": (
        lambda top: make_and_remove(top / "empty" / "new"),
        "changed: empty: modified",
    ),
    "a file swapped for one like it": (lambda top: swap(top / SECRET), f"changed: {SECRET}: inode"),
    "a link that points elsewhere": (lambda top: point(top / "to-nowhere", "x"), "changed: to-nowhere: target"),
    "a device in a file's place": (lambda top: fifo(top / SECRET), f"changed: {SECRET}: kind"),
}
"""What happens, by name: how, and the beginning of a line about it."""


def make_and_remove(path: Path) -> None:
    """A name that was there for a moment."""
    path.touch()
    path.unlink()


def swap(path: Path) -> None:
    """Another file of the same name and text."""
    text = path.read_text()
    path.rename(path.parent.parent / "old")
    path.write_text(text)


def point(link: Path, target: str) -> None:
    """Another link of the same name."""
    link.unlink()
    link.symlink_to(target)


def fifo(path: Path) -> None:
    """Another kind of file of the same name."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", HAPPENINGS)
def test_what_happens_to_the_tree_is_told(name: str, tmp_path: Path) -> None:
    happen, line = HAPPENINGS[name]
    top = tmp_path / "outside"
    Canary.plant(top, os.getuid())
    before = facts(top)
    assert differences(before, facts(top)) == []
    happen(top)
    told = [each.replace(f"{top}/", "") for each in differences(before, facts(top))]
    assert any(each.startswith(line) for each in told), told


def test_roots_are_not_looked_into_and_what_stands_next_to_them_is(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    before = facts(tmp_path, [tmp_path / "root"])
    (tmp_path / "root" / "inside").touch()
    assert differences(before, facts(tmp_path, [tmp_path / "root"])) == []
    (tmp_path / "next-to-it").touch()
    assert f"new: {tmp_path}/next-to-it: -" in differences(before, facts(tmp_path, [tmp_path / "root"]))


def test_every_secret_holds_the_same_word_and_two_canaries_hold_different_ones(tmp_path: Path) -> None:
    one, other = (Canary.plant(tmp_path / name, os.getuid()) for name in ("one", "other"))
    assert one.word != other.word
    assert {path.read_text() for path in one.path.rglob(SECRET)} == {f"{one.word}\n"}
    assert (one.path / one.word).exists()


ROOT, SOMEBODY = (0, 0), (1234, 1234)
FOLDER: dict[str, object] = {"kind": "d", "owner": ROOT, "links": 2, "mode": "0o755"}
FILE: dict[str, object] = {"kind": "-", "owner": ROOT}


@pytest.mark.parametrize(
    ("new", "excused"),
    [
        ({"/o/new": FOLDER}, ["/o/new"]),
        ({"/o/new": FOLDER, "/o/new/deep": FOLDER}, ["/o/new", "/o/new/deep"]),
        ({"/o/new": FOLDER | {"owner": SOMEBODY}}, []),
        ({"/o/new": FILE}, []),
        ({"/o/new": FOLDER, "/o/new/file": FILE}, []),
        ({"/o/new": FOLDER, "/o/new/deep": FOLDER | {"owner": SOMEBODY}}, []),
    ],
)
def test_only_empty_directories_of_root_s_are_excused_as_made_by_the_kubelet(
    new: dict[str, dict[str, object]], excused: list[str]
) -> None:
    before = {"/o": FOLDER}
    now = {"/o": FOLDER | {"links": 3}, **new}
    made, rest = made_by_kubelet(before, now, differences(before, now))
    assert made == excused
    assert bool(rest) == (not excused)


def test_a_directory_made_by_the_kubelet_excuses_nothing_else() -> None:
    before = {"/o": FOLDER, "/o/old": FILE}
    now = {"/o": FOLDER | {"links": 3, "mode": "0o777"}, "/o/old": FILE | {"owner": SOMEBODY}, "/o/new": FOLDER}
    _, rest = made_by_kubelet(before, now, differences(before, now))
    assert [line.rpartition(" was ")[0] for line in rest] == ["changed: /o/old: owner", "changed: /o: mode"]
