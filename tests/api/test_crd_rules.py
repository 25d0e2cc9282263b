"""Every bound and rule of the schema on a real API server: a Sandbox that it takes, one that it refuses, its words."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.api import schema
from tests.api.cases_bounds import BOUNDS, Bound
from tests.api.cases_paths import RULES as PATH_RULES
from tests.api.cases_rules import RULES as OTHER_RULES
from tests.api.cases_rules import Rule
from tests.api.conftest import Sandboxes
from tests.api.sandboxes import KEY, Json, place

RULES = (*OTHER_RULES, *PATH_RULES)


def values(kind: str) -> list[Any]:
    """One parameter for each accepted or refused value of each rule, named after the rule."""
    return [
        pytest.param(rule, value, id=f"{rule.says} | {json.dumps(value)[:40]}")
        for rule in RULES
        for value in getattr(rule, kind)
    ]


def send(sandboxes: Sandboxes, subject: str, sandbox: Json) -> None:
    """Dry-run a creation, or of a status the writing of that status."""
    if "status" in sandbox:
        sandboxes.patch_status(subject, sandbox["status"], dry_run="All")
    else:
        sandboxes.try_create(sandbox)


def complaints(error: ApiException) -> list[tuple[str, str]]:
    """Path, as the tables write it, and message of each thing that the API server found wrong."""
    causes = json.loads(error.body)["details"]["causes"]
    return [(path_of(cause["field"]), cause["message"]) for cause in causes]


def path_of(field: str) -> str:
    """A field of an error without the indices of list items and keys of maps, which errors write in two ways."""
    return re.sub(r"\[\d+]", "[]", field.replace(f"[{KEY}]", "{}").replace(f".{KEY}", "{}"))


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_the_last_value_within_a_bound_is_accepted(sandboxes: Sandboxes, subject: str, bound: Bound) -> None:
    send(sandboxes, subject, bound.accepted)


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_the_first_value_beyond_a_bound_is_refused(sandboxes: Sandboxes, subject: str, bound: Bound) -> None:
    with pytest.raises(ApiException) as caught:
        send(sandboxes, subject, bound.refused)

    found = complaints(caught.value)
    assert any(path == bound.path and bound.says in message for path, message in found), found


@pytest.mark.parametrize(("rule", "value"), values("accepted"))
def test_a_rule_lets_pass_what_is_right(sandboxes: Sandboxes, rule: Rule, value: object) -> None:
    sandboxes.try_create(place(rule.path, value))


@pytest.mark.parametrize(("rule", "value"), values("refused"))
def test_a_rule_refuses_what_is_wrong_and_names_the_field(sandboxes: Sandboxes, rule: Rule, value: object) -> None:
    with pytest.raises(ApiException) as caught:
        sandboxes.try_create(place(rule.path, value))

    assert caught.value.status == 422
    found = complaints(caught.value)
    assert any(path == rule.path and rule.says in message for path, message in found), found


@pytest.mark.parametrize(
    ("volumes", "says"),
    [
        ([{"name": "data", "mountPath": "/a"}], "volume data has no source: a volume must have exactly one of"),
        (
            [{"name": "data", "mountPath": "/a", "host": {"path": "/d"}, "emptyDir": {}}],
            "volume data has more than one source: a volume must have exactly one of",
        ),
        (
            [{"name": name, "mountPath": "/a", "emptyDir": {}} for name in ("data", "cache")],
            "volumes must have different mountPaths: change one of them; /a stands twice",
        ),
        (
            [
                {"name": "data", "mountPath": "/a", "host": {"path": "/d"}},
                {"name": "cache", "mountPath": "/a/cache", "emptyDir": {}},
            ],
            "inside that of a host or pvc volume: mount it beside it; change /a/cache",
        ),
    ],
)
def test_an_error_about_several_fields_says_which_volume(sandboxes: Sandboxes, volumes: list[Json], says: str) -> None:
    with pytest.raises(ApiException) as caught:
        sandboxes.try_create(place("spec.volumes", volumes))

    assert [says in message for _, message in complaints(caught.value)] == [True]


def test_an_error_about_names_says_which_env_and_port(sandboxes: Sandboxes) -> None:
    env = {"name": "TOKEN", "value": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    ports = [{"name": "web", "containerPort": port} for port in (80, 81)]
    with pytest.raises(ApiException) as caught:
        sandboxes.try_create(place("spec", {"image": "busybox", "env": [env], "ports": ports}))

    assert [message.removeprefix("Invalid value: ") for _, message in sorted(complaints(caught.value))] == [
        "env TOKEN has both value and valueFrom: keep one of them",
        "ports must have different names: rename one of those with the name web",
    ]


def test_no_bound_of_the_schema_is_without_a_case() -> None:
    assert {(bound.path, bound.keyword) for bound in BOUNDS} == set(schema.bounds())


def test_no_rule_of_the_schema_is_without_a_case() -> None:
    untested = [
        (path, message)
        for path, message in schema.rules()
        if not any(rule.path == path and rule.says in message and rule.accepted and rule.refused for rule in RULES)
    ]

    assert untested == []
