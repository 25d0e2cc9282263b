"""Loading the allowlist: what is no list denies everything, each with its own reason, and nothing ever raises."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from sandmount.allowlist import Allowlist, Denial, Entry, Grant
from sandmount.api import Volume
from sandmount.listfile import load
from sandmount.settings import EmptyAllowlist
from tests.unit.builders import NAMESPACE, allowlist, config_map, host, spec

ALLOW, DENY = EmptyAllowlist.ALLOW, EmptyAllowlist.DENY
(VOLUME,) = spec(volumes=[host("/data/shared")]).volumes
(ELSEWHERE,) = spec(volumes=[host("/home/me", subPath="x")]).volumes


def decided(found: Allowlist, volume: Volume = VOLUME) -> Grant | Denial | None:
    return found.decide(NAMESPACE, volume)


def test_a_missing_config_map_denies_everything_with_its_own_reason() -> None:
    found = load(None, ALLOW)
    assert found.unusable == ("AllowlistMissing", "the cluster has no allowlist ConfigMap")
    assert not found.firm
    denial = decided(found)
    assert isinstance(denial, Denial)
    assert denial.reason == "AllowlistMissing"
    assert 'volume "data": host.path "/data/shared" is denied: the cluster has no allowlist ConfigMap' in denial.message


@pytest.mark.parametrize(
    "found", [config_map(None), {**config_map(None), "data": None}, {**config_map(None), "data": {"other": "- /data"}}]
)
def test_a_missing_key_denies_everything_with_its_own_reason(found: dict[str, Any]) -> None:
    loaded = load(found, ALLOW)
    assert loaded.unusable == ("AllowlistKeyMissing", "the allowlist ConfigMap has no key allowed_host_paths")
    assert isinstance(decided(loaded), Denial)


def test_the_version_is_the_config_maps_and_tells_two_loads_apart() -> None:
    assert load(config_map("- /data", 7), ALLOW).version == "list/7"
    assert load(config_map("- /data", 8), ALLOW).version == "list/8"
    assert load(config_map(None, 9), ALLOW).version == "list/9"


NOT_YAML = [
    "[",
    "[" * 100_000,
    "{" * 100_000,
    "- " * 3_000,
    "- [" * 5_000,
    "\t- /data",
    "- /data\n\t- /srv",
    "- 2020-13-45",
    "2020-02-30T25:61:61Z",
    "- /data\n /srv: x\n-",
    "a: b: c",
    "- *nowhere",
    "- 'open",
    "--- [/data]\n--- [/srv]",
    "- \0",
    "- \x1b",
    "- \ud800",
    "- {[a]: b, {c: d}: e}",
    "!!python/object/apply:os.system [id]",
    "- !unknown /data",
    "- !!binary é",
    "- !!int 0x",
    "- !!timestamp never",
    "9" * 5_000,
    "- !!bool maybe",
    "- !!int ''",
    "!!float ''",
]


@pytest.mark.parametrize("text", NOT_YAML, ids=lambda t: repr(t[:24]))
def test_yaml_that_does_not_parse_denies_everything_with_its_own_reason(text: str) -> None:
    for empty in (ALLOW, DENY):
        found = allowlist(text, empty=empty)
        assert found.unusable is not None
        assert found.unusable[0] == "AllowlistUnreadable"
        assert len(found.unusable[1]) < 200
        assert not found.firm
        assert isinstance(decided(found), Denial)


def test_the_place_of_a_mistake_is_named() -> None:
    found = allowlist("- /data\n- [\n")
    assert found.unusable == ("AllowlistUnreadable", "the allowlist is not valid YAML (line 3, column 1)")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "nothing"),
        ("   \n# only a comment\n", "nothing"),
        ("null", "nothing"),
        ("~", "nothing"),
        ("/data", "a text"),
        ("all", "a text"),
        ("None", "a text"),
        ("NONE", "a text"),
        ("''", "a text"),
        ("{}", "a mapping"),
        ("allowed_host_paths: [/data]", "a mapping"),
        ("path: /data", "a mapping"),
        ("5", "a number"),
        ("5.5", "a number"),
        ("true", "a boolean"),
        ("2020-01-01", "a value of another type"),
        ("2020-01-02", "a value of another type"),
    ],
)
def test_what_is_neither_a_list_nor_none_denies_everything_and_says_what_was_found(text: str, kind: str) -> None:
    for empty in (ALLOW, DENY):
        found = allowlist(text, empty=empty)
        words = f"the allowlist must be a YAML list of paths, [] or none; found {kind}"
        assert found.unusable == ("AllowlistNotAList", words)
        assert not found.firm
        assert isinstance(decided(found), Denial)


@pytest.mark.parametrize("text", ["none", " none \n", "# nothing at all\nnone", "'none'"])
def test_the_scalar_none_denies_everything_firmly(text: str) -> None:
    found = allowlist(text)
    assert found.unusable is None
    assert found.firm
    assert not found.allows_all
    denial = decided(found)
    assert isinstance(denial, Denial)
    assert denial.reason == "HostPathNotAllowed"
    assert "no host path is allowed here" in denial.message


@pytest.mark.parametrize("text", ["[]", " [ ] ", "[]\n", "# all\n[]"])
def test_an_explicit_empty_list_allows_every_path_when_the_setting_says_so(text: str) -> None:
    found = allowlist(text, empty=ALLOW)
    assert found.allows_all
    assert found.firm
    assert decided(found) == Grant("data", "/data/shared", "", False)
    assert decided(found, ELSEWHERE) == Grant("data", "/home/me", "x", False)


def test_an_explicit_empty_list_denies_every_path_when_the_setting_says_so() -> None:
    found = allowlist("[]", empty=DENY)
    assert not found.allows_all
    assert found.firm
    assert isinstance(decided(found), Denial)


@pytest.mark.parametrize("empty", [ALLOW, DENY])
@pytest.mark.parametrize("text", ["- ''", "- null", "[[]]", "[{}]", "- relative", "- /etc", "[/, /usr]"])
def test_a_list_whose_items_are_all_bad_is_not_an_empty_list(text: str, empty: EmptyAllowlist) -> None:
    found = allowlist(text, empty=empty)
    assert found.bad_items
    assert found.entries == ()
    assert not found.allows_all
    assert not found.firm
    assert isinstance(decided(found), Denial)
    assert isinstance(decided(found, ELSEWHERE), Denial)


def test_items_are_read_in_order_with_a_trailing_slash_forgiven() -> None:
    found = allowlist("- /srv/opensandbox-data\n- /data/shared/\n- '/with space'\n")
    assert found.entries == (Entry("/srv/opensandbox-data", 1), Entry("/data/shared", 2), Entry("/with space", 3))
    assert found.firm


def test_a_repeated_item_is_reported_and_has_no_effect() -> None:
    found = allowlist("- /data\n- /data/\n- /data\n- /srv\n- /srv")
    assert found.entries == (Entry("/data", 1), Entry("/srv", 4))
    assert found.repeated == ("/data", "/srv")
    assert found.bad_items == ()
    assert found.firm


def laughs(levels: int) -> str:
    """A text of a few hundred bytes whose aliases stand for 9 ** levels items."""
    lines = [f"- &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels + 1)]
    return "\n".join(["- &a0 [/data]", *lines])


def merging_laughs(levels: int) -> str:
    """The same with merge keys, which a YAML loader unfolds while it reads."""
    lines = [f"- &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, levels + 1)]
    return "\n".join(["- &a0 {path: /data}", *lines])


@pytest.mark.parametrize("text", [laughs(60), merging_laughs(60), "- &a /data\n- *a", "&all\n- *all\n- /data"])
def test_aliases_are_not_yaml_that_is_read_here_because_they_can_grow_without_bound(text: str) -> None:
    found = allowlist(text)
    assert found.unusable is not None
    assert found.unusable[0] == "AllowlistUnreadable"
    assert isinstance(decided(found), Denial)


def test_an_anchor_that_nothing_refers_to_is_harmless() -> None:
    assert isinstance(decided(allowlist("- &data /data")), Grant)


yaml_like = st.text(st.sampled_from("/-[]{}:,&*!|>'\"# \n\tadnoe01~<"), max_size=40) | st.text(max_size=40)


@given(yaml_like)
@example("none")
@example("[]")
@example("- /data\n- !!bool x")
@example("- /data/shared\n- &a {<<: *a}")
def test_arbitrary_text_never_raises_and_grants_only_as_a_yaml_list(text: str) -> None:
    for empty in (ALLOW, DENY):
        found = allowlist(text, empty=empty)
        if isinstance(decided(found), Grant):
            value = yaml.safe_load(text)
            assert isinstance(value, list)
            if not value:
                assert empty is ALLOW
            else:
                assert any(isinstance(item, str) and item.startswith("/data") for item in value)


@pytest.mark.parametrize("text", ["!!omap []", "!!pairs []", "!!set {}"])
def test_an_empty_something_that_is_no_list_is_not_the_empty_list(text: str) -> None:
    found = allowlist(text)
    assert not found.allows_all
    assert found.unusable is not None


def test_an_item_with_a_colon_too_many_decides_for_its_path() -> None:
    found = allowlist("- /data\n- /data/secret:\n")
    assert [b.path for b in found.bad_items] == ["/data/secret"]
