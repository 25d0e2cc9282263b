"""Allowlists that nobody would write, made at random: whatever is in them, they grant what an item says and no more.

Each property is checked against the items as they were made, not against what the operator made of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import Volume
from sandmount.listfile import parse
from sandmount.paths import HOST_CRITICAL
from sandmount.settings import EmptyAllowlist
from tests.support.fixtures import host_volume

NAMES = ("a", "b", "ab", "etc", "var")
NAMESPACES = ("team", "ci-1", "ci", "other")

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
odd_paths = st.one_of(
    paths,
    paths.map(lambda path: path + "/"),
    st.tuples(paths, st.sampled_from(("/..", "/.", "//x", "\u200b", "\n", " ", "*"))).map("".join),
    st.sampled_from(("", "/", "a", "..", "/a//b")),
)
values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from(("true", "no", "ci-*", "*", "")), st.just([]), st.just({})
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "readOnly": st.booleans() | values,
        "namespaces": st.lists(st.sampled_from(("team", "ci-*", "ci", "*", "c*")), min_size=1, max_size=3) | values,
        "nodes": st.dictionaries(st.sampled_from(("disk", "has-data")), st.sampled_from(("x", "y")), max_size=2)
        | values,
        "acknowledgeRisk": st.booleans() | values,
        "write": st.booleans(),
    },
)
items: st.SearchStrategy[Any] = st.one_of(
    odd_paths, st.builds(lambda path, rest: {"path": path, **rest}, odd_paths, attributes), attributes, values
)
lists = st.lists(items, min_size=1, max_size=6)
volumes = st.builds(lambda path, ro: Volume.model_validate(host_volume(path, readOnly=ro)), paths, st.booleans())

thoroughly = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice, as people do."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(made: Sequence[Any]) -> str:
    """The items as a tool would write them."""
    return yaml.dump(list(made), Dumper=_Plain)


def read(made: Sequence[Any]) -> Allowlist:
    """The list that the operator makes of them."""
    return parse(written(made), "version", EmptyAllowlist.DENY)


def path_of(item: Any) -> str:
    """The path that an item says, as it is written but for a slash at its end; empty when it says none."""
    path = item.get("path", "") if isinstance(item, dict) else item
    return (path.rstrip("/") or path) if isinstance(path, str) else ""


def within(path: str, root: str) -> bool:
    """Whether a directory is another one, or below it."""
    return f"{path}/".startswith(f"{root.rstrip('/')}/")


def serves(item: Any, namespace: str) -> bool:
    """Whether an item is for a namespace."""
    patterns = item.get("namespaces", ["*"]) if isinstance(item, dict) else ["*"]
    patterns = ["*"] if patterns is None else patterns
    return any(namespace == p or (p.endswith("*") and namespace.startswith(p[:-1])) for p in patterns)


@thoroughly
@given(lists, st.sampled_from(NAMESPACES), volumes)
def test_a_grant_is_what_some_item_says(made: list[Any], namespace: str, volume: Volume) -> None:
    decision = read(made).decide(namespace, volume)
    assert isinstance(decision, Grant | Denial)
    if isinstance(decision, Denial):
        return
    assert volume.host is not None
    said = [item for item in made if path_of(item) == decision.root and serves(item, namespace)]
    assert said, decision
    assert within(volume.host.path, decision.root)
    assert f"{decision.root}/{decision.sub_path}".rstrip("/") == volume.host.path
    assert decision.read_only is volume.read_only
    for item in said:
        of_item = item if isinstance(item, dict) else {}
        assert volume.read_only or not of_item.get("readOnly")
        if any(within(decision.root, d) or within(d, decision.root) for d in HOST_CRITICAL):
            assert of_item.get("acknowledgeRisk") is True
        assert set((of_item.get("nodes") or {}).items()) <= set(decision.nodes)


@thoroughly
@given(lists)
def test_every_item_is_an_entry_or_reported(made: list[Any]) -> None:
    found = read(made)
    told = {e.position for e in found.entries} | {b.position for b in found.bad_items}
    repeated = {n for n, item in enumerate(made, start=1) if path_of(item) in found.repeated}
    assert told | repeated == set(range(1, len(made) + 1))


@thoroughly
@given(lists, items, st.sampled_from(NAMESPACES), volumes)
def test_one_more_item_grants_nothing_but_at_and_below_its_path(
    made: list[Any], more: Any, namespace: str, volume: Volume
) -> None:
    after = read([*made, more])
    if isinstance(after.decide(namespace, volume), Grant) and isinstance(read(made).decide(namespace, volume), Denial):
        assert volume.host is not None
        assert within(volume.host.path, path_of(more))
        assert len(made) + 1 not in {b.position for b in after.bad_items}, "a bad item grants nothing"


@thoroughly
@given(lists, st.integers(), st.sampled_from(NAMESPACES), volumes)
def test_the_order_of_items_decides_nothing(made: list[Any], seed: int, namespace: str, volume: Volume) -> None:
    shuffled = list(made)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, no secret
    one, other = read(made).decide(namespace, volume), read(shuffled).decide(namespace, volume)
    assert isinstance(one, Grant) == isinstance(other, Grant)
    assert isinstance(one, Denial) or one == other


@thoroughly
@given(lists)
def test_who_may_write_in_a_root_finds_no_other_root_there(made: list[Any]) -> None:
    """No entry lies inside a writable one, for whatever namespaces either is."""
    roots = read(made).entries
    for outer in roots:
        for inner in roots:
            if inner.root != outer.root and within(inner.root, outer.root):
                assert outer.read_only


@thoroughly
@given(lists, st.data())
def test_a_text_that_was_damaged_never_raises_and_grants_only_what_a_yaml_reader_sees_in_it(
    made: list[Any], data: st.DataObject
) -> None:
    text = written(made)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        put = data.draw(st.text(st.sampled_from("-/[]{}:,&*!|>'\"# \n\tab.\\0\u2028"), max_size=3))
        text = text[:at] + put + text[at + cut :]
    found = parse(text, "version", EmptyAllowlist.DENY)
    for entry in found.entries:
        assert entry.root in {path_of(item) for item in yaml.safe_load(text)}
    if found.unusable or not found.entries:
        volume = Volume.model_validate(host_volume("/a"))
        assert isinstance(found.decide("team", volume), Denial)
