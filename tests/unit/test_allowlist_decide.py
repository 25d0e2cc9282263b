"""The decision on one volume: whole components, path and subPath both decided, and a denial that helps."""

from typing import Any

import pytest

from sandmount.allowlist import Allowlist, Denial, Grant
from tests.unit.builders import NAMESPACE, allowlist, host, roots, spec


def decide(found: Allowlist, path: str, **fields: Any) -> Grant | Denial | None:
    (volume,) = spec(volumes=[host(path, **fields)]).volumes
    return found.decide(NAMESPACE, volume)


@pytest.mark.parametrize("source", [{"pvc": {"claimName": "c"}}, {"emptyDir": {}}])
@pytest.mark.parametrize("text", ["none", "[]", "- /data", "{}", "["])
def test_other_volumes_are_no_matter_of_the_allowlist(source: dict[str, object], text: str) -> None:
    (volume,) = spec(volumes=[{"name": "v", "mountPath": "/v", **source}]).volumes
    assert allowlist(text).decide(NAMESPACE, volume) is None


@pytest.mark.parametrize(
    ("path", "sub_path", "expected"),
    [
        ("/data", None, ""),
        ("/data", "x", "x"),
        ("/data/x", None, "x"),
        ("/data/x", "y/z", "x/y/z"),
        ("/data/..hidden", None, "..hidden"),
    ],
)
def test_a_path_at_or_below_a_root_is_granted_with_the_rest_as_sub_path(
    path: str, sub_path: str | None, expected: str
) -> None:
    assert decide(roots("/data", "/srv"), path, subPath=sub_path) == Grant("data", "/data", expected, False)


@pytest.mark.parametrize("path", ["/database", "/data.old", "/dat", "/d", "/x/data", "/srv2", "/DATA", "/data "])
def test_prefixes_match_on_whole_components_only(path: str) -> None:
    assert isinstance(decide(roots("/data", "/srv"), path), Denial)


def test_a_parent_of_a_root_is_denied_even_when_its_sub_path_leads_into_the_root() -> None:
    denial = decide(roots("/data/shared"), "/data", subPath="shared")
    assert isinstance(denial, Denial)
    assert denial.path == "/data"


def test_read_only_is_handed_on() -> None:
    assert decide(roots("/data"), "/data", readOnly=True) == Grant("data", "/data", "", True)


def test_path_and_path_with_sub_path_are_both_decided() -> None:
    found = allowlist("- /data\n- {path: /data/secret, readOnly: maybe}")
    assert isinstance(decide(found, "/data"), Grant)
    assert isinstance(decide(found, "/data", subPath="x"), Grant)
    denial = decide(found, "/data", subPath="secret/y")
    assert isinstance(denial, Denial)
    assert denial.path == "/data/secret/y"
    assert 'host.path with subPath "/data/secret/y"' in denial.message


def test_the_most_specific_item_decides() -> None:
    found = allowlist("- /srv\n- /data/a\n- /data/b\n- {path: /data, owner: me}")
    assert isinstance(decide(found, "/data/a/x"), Grant)
    assert isinstance(decide(found, "/data/c"), Denial)
    assert isinstance(decide(found, "/data"), Denial)


def test_a_denial_names_the_volume_the_path_and_what_is_allowed() -> None:
    assert decide(roots("/data", "/srv"), "/home/me") == Denial(
        "data",
        "/home/me",
        "HostPathNotAllowed",
        'volume "data": host.path "/home/me" is not on the allowlist; allowed here: at or below "/data", "/srv"',
    )


def test_a_denial_lists_at_most_ten_roots() -> None:
    denial = decide(roots(*[f"/srv/{i}" for i in range(12)]), "/home/me")
    assert isinstance(denial, Denial)
    assert denial.message.endswith('"/srv/8", "/srv/9" and 2 more')


def test_a_list_that_cannot_be_used_denies_with_its_reason() -> None:
    denial = decide(allowlist("{}"), "/data")
    assert isinstance(denial, Denial)
    assert denial.reason == "AllowlistNotAList"
    assert denial.message.startswith('volume "data": host.path "/data" is denied: the allowlist must be a YAML list')


def test_equal_lists_decide_equally_and_are_equal() -> None:
    assert roots("/data", "/srv") == roots("/data", "/srv")
    assert roots("/data") != roots("/srv")
