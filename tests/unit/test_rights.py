"""How what the operator asked is held against what it was granted."""

from collections import Counter

import yaml

from tests.rights import NOT_ASKED, Right, compared, granted
from tests.support.installation import MANIFESTS

READS = Right("get", "", "pods")
ONE = Right("watch", "", "configmaps", "own", "list")


def test_a_right_that_nothing_used_is_named() -> None:
    lines, wrong = compared({READS, ONE}, Counter({READS: 3}))
    assert wrong == ["granted and never used: watch configmaps list in own"]
    assert lines[0].strip() == "3 x get pods"


def test_a_request_that_no_right_covers_is_named() -> None:
    other = Right("watch", "", "configmaps", "own", "another")
    _, wrong = compared({ONE}, Counter({ONE: 1, other: 2, Right("get", "", "pods/log"): 1}))
    assert wrong == [
        "asked 1 times and not granted: get pods/log",
        "asked 2 times and not granted: watch configmaps another in own",
    ]


def test_a_right_for_all_namespaces_covers_a_request_in_one() -> None:
    assert compared({READS}, Counter({Right("get", "", "pods", "own", "a"): 1}))[1] == []


def test_the_finalizers_of_sandboxes_need_no_use() -> None:
    assert compared({NOT_ASKED}, Counter())[1] == []


def test_only_what_is_bound_to_the_operator_counts() -> None:
    rights = granted(yaml.safe_load_all((MANIFESTS / "base" / "rbac.yaml").read_text()))
    assert {Right("patch", "sandmount.dev", "sandboxes/status"), NOT_ASKED} < rights
    people = granted(yaml.safe_load_all((MANIFESTS / "base" / "roles-for-people.yaml").read_text()))
    assert people == set()
