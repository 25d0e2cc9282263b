"""What the facts about the roots of an allowlist mean for Sandmount's promise. Pure; hostfacts.py looks at the node.

An ERROR is something through which a mount can leave its root, or that was not looked at. What the kubelet refuses
anyway, and what would narrow the harm, is a WARNING.
"""

from collections.abc import Iterator, Sequence

from sandmount import paths
from sandmount.allowlist import Entry
from sandmount.check.findings import Finding, Level, Place
from sandmount.host import mountinfo
from sandmount.host.facts import Ancestor, RootFacts
from sandmount.host.tree import SHOWN, Tree

_WRITE_BITS = ((0o020, "its group"), (0o002, "everybody"))


def judge_root(entry: Entry, place: Place, facts: RootFacts) -> tuple[Finding, ...]:
    """The findings about one root by itself; ``place`` is where its entry stands."""
    return tuple(Finding(place, *found) for found in _about(entry, facts))


def judge_together(entries: Sequence[tuple[Entry, Place, RootFacts]]) -> tuple[Finding, ...]:
    """The findings about roots that a mount puts inside one another, or inside themselves; paths do not show that."""
    return tuple(
        Finding(place, Level.ERROR, "NestedByMount", _nested_words(inner, outer))
        for inner, place, inside in entries
        for outer, _, around in entries
        if not outer.read_only and _is_nested(inside, around)
    )


def owners_unknown(place: Place) -> Finding:
    """The finding for a process that cannot tell who owns a directory."""
    words = "this process runs in a user namespace, where user 0 need not be the node's root; run it outside of one"
    return Finding(place, Level.ERROR, "OwnersUnknown", words)


def nothing_to_check(place: Place) -> Finding:
    """The finding for a list that allows every path."""
    return Finding(
        place, Level.ERROR, "AllowlistAllowsAll", "[] allows every path, so there is no root that could hold"
    )


Said = tuple[Level, str, str]
"""Level, rule and message."""


def _about(entry: Entry, facts: RootFacts) -> Iterator[Said]:
    root = paths.quoted(entry.root)
    for ancestor in facts.ancestors:
        yield from _above(root, ancestor)
    if facts.trouble is not None:
        elsewhere = facts.missing and entry.nodes
        words = f"{root}: {facts.trouble}" + ("; is this one of the entry's nodes?" if elsewhere else "")
        yield Level.NOTE if elsewhere else Level.ERROR, "RootMissing" if facts.missing else "RootNotReal", words
        return
    yield from _mounts(root, facts)
    if facts.tree is not None:
        yield from _tree(root, facts.tree)


def _above(root: str, ancestor: Ancestor) -> Iterator[Said]:
    who = [words for bit, words in _WRITE_BITS if ancestor.mode & bit]
    if ancestor.owner != 0:
        who.insert(0, f"its owner, user {ancestor.owner}")
    if who:
        words = (
            f"{root}: {paths.quoted(ancestor.path)} can be written by {' and '.join(who)} (mode {ancestor.mode:04o}), "
            "who could put a link in the root's place; make it root's, without write permission for group and others"
        )
        yield Level.ERROR, "AncestorWritable", words


def _mounts(root: str, facts: RootFacts) -> Iterator[Said]:
    if facts.mount is None:
        yield Level.ERROR, "MountUnknown", f"{root}: its mount cannot be read from /proc/self"
    else:
        yield from _flags(f"{root} lies on", facts.mount, "MountFlags")
    for mount in facts.submounts[:SHOWN]:
        yield from _flags(f"{root} has a mount below it:", mount, "Submount")
    if len(facts.submounts) > SHOWN:
        yield Level.NOTE, "Submount", f"{root} has {len(facts.submounts)} mounts below it; {SHOWN} are shown"


def _flags(what: str, mount: mountinfo.Mount, rule: str) -> Iterator[Said]:
    missing = () if mount.read_only else mount.missing
    advice = f"; {','.join(missing)} would narrow what can go wrong there" if missing else ""
    yield Level.WARNING if missing else Level.NOTE, rule, f"{what} {mount.shown}{advice}"


def _tree(root: str, tree: Tree) -> Iterator[Said]:
    out = {0: "no link leads out of it", 1: "1 link leads out of it"}.get(
        tree.links_out, f"{tree.links_out} links lead out"
    )
    yield Level.NOTE, "RootLookedAt", f"{root} is a directory and no link; {tree.files} files below it, {out}"
    if not tree.complete:
        words = f"{root}: the walk ended after {tree.files} files; see what is left with a larger --max-files"
        yield Level.ERROR, "NotLookedAt", words
    for path, reason in tree.first_unread:
        yield Level.ERROR, "NotLookedAt", f"{root}: {paths.quoted(path)} could not be read: {reason}"
    if tree.unread > len(tree.first_unread):
        words = f"{root}: {tree.unread} directories could not be read; {len(tree.first_unread)} are shown"
        yield Level.ERROR, "NotLookedAt", words
    for path, target in tree.first_links_out:
        words = f"{root}: the link {paths.quoted(path)} to {paths.quoted(target)} leads out of it"
        yield Level.WARNING, "LinkLeadsOut", words


def _is_nested(inside: RootFacts, around: RootFacts) -> bool:
    """Whether one root lies inside what can be written through the other, wherever on the node that is mounted."""
    if inside.mount is None or not paths.is_within(inside.root, inside.mount.point):
        return False
    device, inner = mountinfo.place_on_device(inside.mount, inside.root)
    return any(
        device == other and inner != outer and paths.is_within(inner, outer)
        for other, outer in _writable_trees(around, paths.is_within(inside.root, around.root))
    )


def _writable_trees(facts: RootFacts, inside_by_name: bool) -> Iterator[tuple[str, str]]:
    """Device and place of all that is mounted at a root and below it. The allowlist itself has looked at names."""
    mount = facts.mount
    if mount is not None and not mount.read_only and not inside_by_name and paths.is_within(facts.root, mount.point):
        yield mountinfo.place_on_device(mount, facts.root)
    yield from ((m.device, m.top) for m in facts.submounts if not m.read_only)


def _nested_words(inner: Entry, outer: Entry) -> str:
    return (
        f"{paths.quoted(inner.root)} lies on the disk inside what {paths.quoted(outer.root)} holds, by a mount: "
        "who may write there could replace it by a link; remove one of the two, or make the outer one readOnly"
    )
