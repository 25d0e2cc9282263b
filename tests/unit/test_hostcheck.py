"""What facts about a root mean: which of them break the promise, and in which words it is said."""

from dataclasses import replace

import pytest

from sandmount.allowlist import Entry
from sandmount.check.findings import Finding, Level, Place
from sandmount.host.facts import Ancestor, RootFacts
from sandmount.host.mountinfo import Mount
from sandmount.host.rules import judge_root, judge_together
from sandmount.host.tree import Tree

ENTRY = Entry(root="/data/shared", position=2)
PLACE = Place("list.yaml", 7)
FLAGS = frozenset({"rw", "nosymfollow", "nosuid", "nodev"})
MOUNT = Mount(number=30, device="8:1", top="/", point="/data", file_system="ext4", options=FLAGS)
GOOD = RootFacts(
    "/data/shared",
    ancestors=(Ancestor("/", 0, 0o755), Ancestor("/data", 0, 0o555)),
    mount=MOUNT,
    tree=Tree(files=12),
)


def said(facts: RootFacts, entry: Entry = ENTRY) -> list[tuple[str, str, str]]:
    """Level, rule and message of each finding that is no note; all of them stand where the entry does."""
    found = judge_root(entry, PLACE, facts)
    assert {f.place for f in found} <= {PLACE}
    return [(f.level, f.rule, f.message) for f in found if f.level is not Level.NOTE]


def test_a_root_that_holds_has_only_notes() -> None:
    assert [f.message for f in judge_root(ENTRY, PLACE, GOOD)] == [
        '"/data/shared" lies on ext4 at "/data", nosymfollow,nosuid,nodev',
        '"/data/shared" is a directory and no link; 12 files below it, no link leads out of it',
    ]
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("ancestor", "who"),
    [
        (Ancestor("/data", 1000, 0o755), "its owner, user 1000 (mode 0755)"),
        (Ancestor("/data", 1000, 0o555), "its owner, user 1000 (mode 0555)"),  # who owns it can give the right back
        (Ancestor("/data", 0, 0o775), "its group (mode 0775)"),
        (Ancestor("/data", 0, 0o757), "everybody (mode 0757)"),
        (Ancestor("/data", 0, 0o1777), "its group and everybody (mode 1777)"),  # sticky: its owner still can
        (Ancestor("/data", 7, 0o777), "its owner, user 7 and its group and everybody (mode 0777)"),
    ],
)
def test_an_ancestor_that_somebody_else_can_write_is_an_error(ancestor: Ancestor, who: str) -> None:
    [(level, rule, message)] = said(replace(GOOD, ancestors=(Ancestor("/", 0, 0o755), ancestor)))
    assert (level, rule) == ("error", "AncestorWritable")
    assert message == (
        f'"/data/shared": "/data" can be written by {who}, who could put a link in the root\'s place; '
        "make it root's, without write permission for group and others"
    )


def test_a_root_that_is_a_link_is_an_error() -> None:
    trouble = 'it is a link to "/etc", which the kubelet follows; write where it leads'
    assert said(replace(GOOD, trouble=trouble, tree=None)) == [("error", "RootNotReal", f'"/data/shared": {trouble}')]


def test_a_root_that_is_missing_is_an_error_unless_only_some_nodes_have_it() -> None:
    facts = replace(GOOD, trouble="there is no such directory", missing=True, mount=None, tree=None)
    assert said(facts) == [("error", "RootMissing", '"/data/shared": there is no such directory')]
    [found] = judge_root(replace(ENTRY, nodes=(("disk", "fast"),)), PLACE, facts)
    assert (found.level, found.rule) == (Level.NOTE, "RootMissing")
    assert found.message.endswith("is this one of the entry's nodes?")


def test_flags_that_are_missing_are_a_warning_and_read_only_needs_none() -> None:
    bare = replace(MOUNT, options=frozenset({"rw", "nosuid", "noexec"}))
    assert said(replace(GOOD, mount=bare)) == [
        (
            "warning",
            "MountFlags",
            '"/data/shared" lies on ext4 at "/data", nosuid,noexec; '
            "nosymfollow,nodev would narrow what can go wrong there",
        )
    ]
    assert said(replace(GOOD, mount=replace(MOUNT, options=frozenset({"ro"})))) == []
    assert [found[:2] for found in said(replace(GOOD, mount=None))] == [("error", "MountUnknown")]


def test_mounts_below_a_root_are_told_with_their_flags_and_counted_when_there_are_many() -> None:
    bare = replace(MOUNT, point="/data/shared/in\nner", file_system="tmpfs", options=frozenset({"rw"}))
    [(level, rule, message)] = said(replace(GOOD, submounts=(bare,)))
    assert (level, rule) == ("warning", "Submount")
    assert message.startswith(
        '"/data/shared" has a mount below it: tmpfs at "/data/shared/in\\u000aner", without flags; '
    )
    many = tuple(replace(MOUNT, point=f"/data/shared/{i:02}") for i in range(25))
    found = [f.message for f in judge_root(ENTRY, PLACE, replace(GOOD, submounts=many)) if f.rule == "Submount"]
    assert len(found) == 21
    assert found[-1] == '"/data/shared" has 25 mounts below it; 20 are shown'


def test_links_that_lead_out_are_warnings_and_what_was_not_looked_at_is_an_error() -> None:
    tree = Tree(9, links_out=3, first_links_out=(("a\x1b", "/etc"), ("b", "..")))
    assert said(replace(GOOD, tree=tree)) == [
        ("warning", "LinkLeadsOut", '"/data/shared": the link "a\\u001b" to "/etc" leads out of it'),
        ("warning", "LinkLeadsOut", '"/data/shared": the link "b" to ".." leads out of it'),
    ]
    notes = [f.message for f in judge_root(ENTRY, PLACE, replace(GOOD, tree=tree)) if f.rule == "RootLookedAt"]
    assert notes == ['"/data/shared" is a directory and no link; 9 files below it, 3 links lead out']
    cut = Tree(101, unread=2, first_unread=(("x", "Permission denied"),), complete=False)
    assert said(replace(GOOD, tree=cut)) == [
        (
            "error",
            "NotLookedAt",
            '"/data/shared": the walk ended after 101 files; see what is left with a larger --max-files',
        ),
        ("error", "NotLookedAt", '"/data/shared": "x" could not be read: Permission denied'),
        ("error", "NotLookedAt", '"/data/shared": 2 directories could not be read; 1 are shown'),
    ]


def together(*pairs: tuple[Entry, Mount]) -> list[Finding]:
    """The findings about roots on these mounts."""
    entries = [(entry, PLACE, replace(GOOD, root=entry.root, mount=mount)) for entry, mount in pairs]
    return list(judge_together(entries))


def test_a_root_that_a_mount_puts_inside_a_writable_one_is_an_error() -> None:
    outer = Entry(root="/srv/all", position=1)
    inner = Entry(root="/mnt/part", position=2)
    whole = replace(MOUNT, point="/srv", top="/")
    bound = replace(MOUNT, number=31, point="/mnt/part", top="/all/part")
    [found] = together((outer, whole), (inner, bound))
    assert (found.level, found.rule) == (Level.ERROR, "NestedByMount")
    assert found.message.startswith('"/mnt/part" lies on the disk inside what "/srv/all" holds, by a mount: ')
    assert together((replace(outer, read_only=True), whole), (inner, bound)) == []
    assert together((outer, replace(whole, options=frozenset({"ro"}))), (inner, bound)) == []
    assert together((outer, whole), (inner, replace(bound, device="8:2"))) == []
    assert together((outer, whole), (inner, replace(bound, point="/elsewhere"))) == []
    assert together((outer, whole), (inner, replace(bound, top="/allpart"))) == []
    assert together((outer, whole), (inner, replace(bound, top="/all"))) == []  # the same tree: no root to replace
    assert together((outer, whole), (inner, bound), (inner, bound)) != []


def test_a_mount_below_a_writable_root_counts_as_a_part_of_it() -> None:
    disk = replace(MOUNT, device="8:7", point="/mnt/disk", top="/")
    inner = Entry(root="/mnt/disk/part", position=2)
    inside = replace(GOOD, root=inner.root, mount=disk)
    below = replace(disk, point="/data/shared/disk")
    around = replace(GOOD, submounts=(below,))
    assert [f.rule for f in judge_together([(ENTRY, PLACE, around), (inner, PLACE, inside)])] == ["NestedByMount"]
    assert not judge_together([(replace(ENTRY, read_only=True), PLACE, around), (inner, PLACE, inside)])
    read_only = replace(around, submounts=(replace(below, options=frozenset({"ro"})),))
    assert not judge_together([(ENTRY, PLACE, read_only), (inner, PLACE, inside)])
    itself = replace(GOOD, submounts=(replace(MOUNT, point="/data/shared/all", top="/"),))
    assert [f.rule for f in judge_together([(ENTRY, PLACE, itself)])] == ["NestedByMount"]  # it holds its own parent
