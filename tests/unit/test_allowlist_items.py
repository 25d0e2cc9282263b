"""Items of the allowlist: what makes one bad, and that a bad one still decides for the path it names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount import paths
from sandmount.allowlist import Denial, Grant
from sandmount.api import Volume
from tests.unit.builders import NAMESPACE, allowlist, host, spec


def volume(path: str, sub_path: str | None = None) -> Volume:
    (found,) = spec(volumes=[host(path, subPath=sub_path)]).volumes
    return found


def granted(text: str, path: str, sub_path: str | None = None) -> bool:
    return isinstance(allowlist(text).decide(NAMESPACE, volume(path, sub_path)), Grant)


BAD = [
    ("- data", "is not absolute"),
    ("- ./data", "is not absolute"),
    ("- '~'", "is not absolute"),
    ("- ''", "is empty"),
    ("- /data/../etc", "contains .."),
    ("- /data/./x", "contains ."),
    ("- /data//x", "empty part"),
    ("- //data", "empty part"),
    ("- /", "the whole host"),
    ("- ///", "the whole host"),
    ('- "/data\\n"', "control or invisible"),
    ('- "/da\\u200bta"', "control or invisible"),
    ('- "/da\\0ta"', "control or invisible"),
    ("- /" + "x" * 1024, "too long"),
    ("- /" + "x" * 256, "more than 255 bytes"),
    ("- null", "is a null"),
    ("-", "is a null"),
    ("- 5", "is a number"),
    ("- 5.5", "is a number"),
    ("- true", "is a boolean"),
    ("- [/data]", "is a list"),
    ("- {}", "path: is required"),
    ("- {/data: x}", "/data: is not an attribute; write path, readOnly"),
    ("- {path: }", "path: must be text"),
    ("- {path: 5}", "path: must be text; put it in quotes"),
    ("- {path: [/data]}", "path: must be text"),
    ("- {path: data}", "is not absolute"),
    ("- {path: /data/../etc}", "contains .."),
    ("- {path: /, acknowledgeRisk: true}", "the whole host"),
    ("- {path: /data, owner: me}", "owner: is not an attribute"),
    ("- {path: /data, readonly: true}", "readonly: is not an attribute"),
    ("- {path: /data, read_only: true}", "read_only: is not an attribute"),
    ("- {path: /data, 5: x}", "is not an attribute"),
    ("- {path: /data, readOnly: 'true'}", "readOnly: must be true or false"),
    ("- {path: /data, readOnly: 1}", "readOnly: must be true or false"),
    ("- {path: /data, readOnly: }", "readOnly: must be true or false"),
    ("- {path: /data, namespaces: a}", "namespaces: must be a list"),
    ("- {path: /data, namespaces: }", "namespaces: must be a list"),
    ("- {path: /data, nodes: }", "nodes: must be a mapping"),
    ("- {path: /data, acknowledgeRisk: }", "acknowledgeRisk: must be true or false"),
    ("- {path: /data, namespaces: []}", "namespaces: must not be empty; leave it out for all"),
    ("- {path: /data, namespaces: [A]}", "namespaces.0: is not a namespace"),
    ("- {path: /data, namespaces: [a, '*-ci']}", "namespaces.1: is not a namespace"),
    ("- {path: /data, namespaces: ['a*b']}", "namespaces.0: is not a namespace"),
    ("- {path: /data, namespaces: ['']}", "namespaces.0: is not a namespace"),
    ("- {path: /data, namespaces: ['a\\n']}", "namespaces.0: is not a namespace"),
    ("- {path: /data, namespaces: [5]}", "namespaces.0: must be text; put it in quotes"),
    ("- {path: /data, nodes: [a]}", "nodes: must be a mapping"),
    ("- {path: /data, nodes: {a: true}}", "nodes.a: must be text; put it in quotes"),
    ("- {path: /data, nodes: {'a b': x}}", "nodes.a b: is not a label"),
    ("- {path: /data, nodes: {a: 'x y'}}", "nodes.a: is not a label"),
    ("- {path: /data, acknowledgeRisk: yes please}", "acknowledgeRisk: must be true or false"),
    ("- {path: /etc, acknowledgeRisk: false}", "gives access to /etc"),
    ("- 2020-01-01", "value of another type"),
    ("- 2020-01-02", "value of another type"),
    ("- /etc", "gives access to /etc"),
    ("- /etc/kubernetes", "gives access to /etc"),
    ("- /var", "gives access to"),
    ("- /var/lib/kubelet/pods", "gives access to /var/lib/kubelet"),
    ("- /proc/1/root", "gives access to /proc"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=lambda t: t[:24])
def test_a_bad_item_is_reported_with_its_place_and_grants_nothing(text: str, words: str) -> None:
    found = allowlist(f"- /good\n{text}")
    (bad,) = found.bad_items
    assert bad.position == 2
    assert words in str(bad)
    assert str(bad).startswith("item 2: ")
    assert len(str(bad)) < 400
    assert [e.root for e in found.entries] == ["/good"]
    assert not found.firm


def test_a_bad_item_leaves_the_good_ones_in_force() -> None:
    assert granted("- relative\n- /data\n- null", "/data/x")


@pytest.mark.parametrize("directory", paths.HOST_CRITICAL)
def test_a_directory_that_the_node_depends_on_is_a_bad_item_with_all_at_inside_and_above(directory: str) -> None:
    for root in (directory, directory + "/inside", *paths.upwards(directory)):
        assert allowlist(f"- {root}").entries == ()


@pytest.mark.parametrize(
    "item",
    [
        "/data/secret//",
        "/data//secret",
        "/data/x/../secret",
        "/data/./secret",
        "//data/secret",
        "{path: /data/secret, readOnly: maybe}",
        "{path: /data//secret}",
        "{path: /data/secret, namespaces: []}",
        "{path: /data/secret}",
    ],
)
@pytest.mark.parametrize("order", ["- /data\n- {}", "- {}\n- /data"])
def test_a_bad_item_denies_for_the_path_it_names_where_a_wider_entry_would_grant(item: str, order: str) -> None:
    text = order.replace("{}", item)
    if allowlist(text).bad_items:
        assert not granted(text, "/data/secret")
        assert not granted(text, "/data/secret/deep/down")
        assert not granted(text, "/data", "secret")
        assert not granted(text, "/data", "secret/deep")
    assert granted(text, "/data/other")
    assert granted(text, "/data/secrets")


def test_the_whole_host_as_an_item_denies_what_no_other_entry_names() -> None:
    text = "- /\n- /data"
    assert granted(text, "/data/x")
    assert not granted(text, "/srv")


@pytest.mark.parametrize("text", ["- /data\n- /data/inner", "- /data/inner\n- /data"])
def test_a_root_inside_another_root_is_bad_and_the_outer_one_stands(text: str) -> None:
    found = allowlist(text)
    (bad,) = found.bad_items
    assert bad.path == "/data/inner"
    assert '"/data/inner" lies inside item' in bad.problem
    assert [e.root for e in found.entries] == ["/data"]
    assert granted(text, "/data/x")
    assert not granted(text, "/data/inner/x")
    assert not granted(text, "/data", "inner")


def test_roots_nested_three_deep_leave_only_the_outermost() -> None:
    found = allowlist("- /a/b/c\n- /a\n- /a/b\n- /ab")
    assert [e.root for e in found.entries] == ["/a", "/ab"]
    assert [(b.position, b.path) for b in found.bad_items] == [(1, "/a/b/c"), (3, "/a/b")]


def test_a_denial_by_a_bad_item_names_that_item() -> None:
    found = allowlist("- /data\n- /data/../data/secret").decide(NAMESPACE, volume("/data/secret/x"))
    assert isinstance(found, Denial)
    assert '"/data/secret/x" lies in the allowlist\'s item 2, which is not valid' in found.message


items = st.sampled_from(
    [
        "/a",
        "/a/b",
        "/a/b/c",
        "/ab",
        "/a/",
        "/a//b",
        "/a/../a/b",
        "a",
        "",
        "/",
        "/etc",
        "/b/c",
        "null",
        "5",
        "[/a]",
        "{path: /a/b}",
        "{path: /a/b, readOnly: maybe}",
    ]
)
requests = st.sampled_from(["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/x", "/ab", "/b", "/b/c", "/etc", "/x"])


def named_by(item: str) -> str | None:
    """The path that an item of ``items`` names."""
    return paths.meant(item.removeprefix("{path: ").partition(",")[0].rstrip("}"))


@given(st.lists(items, min_size=1, max_size=6), st.lists(items, max_size=3), requests)
def test_another_item_never_lets_a_wider_entry_grant_more(base: list[str], more: list[str], path: str) -> None:
    """What a list grants through one of its roots, it still grants through that root or not at all with more items."""
    before = allowlist("\n".join(f"- {i or repr('')}" for i in base)).decide(NAMESPACE, volume(path))
    after = allowlist("\n".join(f"- {i or repr('')}" for i in base + more)).decide(NAMESPACE, volume(path))
    named = {r for i in base + more if (r := named_by(i)) is not None}
    if isinstance(after, Grant):
        assert after.root in named
        assert not isinstance(before, Grant) or paths.is_within(before.root, after.root)


@given(st.lists(items, min_size=1, max_size=6), requests)
def test_no_grant_passes_an_item_that_names_a_longer_path(listed: list[str], path: str) -> None:
    found = allowlist("\n".join(f"- {i or repr('')}" for i in listed)).decide(NAMESPACE, volume(path))
    if isinstance(found, Grant):
        meant = {m for i in listed if (m := named_by(i)) is not None}
        assert max((m for m in meant if paths.is_within(path, m)), key=len) == found.root
