"""parse_spec: rules between fields, fields that are not known, and input that is no spec at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.api import InvalidSpec, SandboxSpec, parse_spec
from tests.unit.builders import host, problems, raw_spec

CLAIM = {"pvc": {"claimName": "c"}}
SCRATCH: dict[str, Any] = {"emptyDir": {}}
HOST = {"host": {"path": "/data"}}


def volume(name: str, mount: str, source: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "mountPath": mount, **source}


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({}, "none"),
        ({**HOST, **CLAIM}, "host and pvc"),
        ({**CLAIM, **SCRATCH}, "pvc and emptyDir"),
        ({**HOST, **SCRATCH}, "host and emptyDir"),
        ({"host": None, "pvc": None, "emptyDir": None}, "none"),
    ],
)
def test_a_volume_has_exactly_one_source(sources: dict[str, Any], found: str) -> None:
    (problem,) = problems(raw_spec(volumes=[volume("data", "/mnt/data", sources)]))
    assert problem == f"spec.volumes[0]: needs exactly one of host, pvc, emptyDir; found {found}"


@pytest.mark.parametrize("source", [HOST, CLAIM, SCRATCH])
def test_one_source_is_accepted(source: dict[str, Any]) -> None:
    assert problems(raw_spec(volumes=[volume("data", "/mnt/data", source)])) == ()


@pytest.mark.parametrize("outer", [HOST, CLAIM])
@pytest.mark.parametrize("inner", [HOST, CLAIM, SCRATCH])
@pytest.mark.parametrize("inner_first", [True, False])
def test_nothing_is_mounted_inside_a_host_or_pvc_volume(outer: Any, inner: Any, inner_first: bool) -> None:
    both = [volume("outer", "/mnt/data", outer), volume("inner", "/mnt/data/x/y", inner)]
    (problem,) = problems(raw_spec(volumes=both[::-1] if inner_first else both))
    assert 'mountPath "/mnt/data/x/y" of "inner" lies inside "/mnt/data" of "outer"' in problem


@pytest.mark.parametrize("inner", [HOST, CLAIM, SCRATCH])
def test_a_volume_may_be_mounted_inside_an_empty_dir(inner: dict[str, Any]) -> None:
    both = [volume("outer", "/mnt/data", SCRATCH), volume("inner", "/mnt/data/x", inner)]
    assert problems(raw_spec(volumes=both)) == ()


@pytest.mark.parametrize("one", [HOST, CLAIM, SCRATCH])
@pytest.mark.parametrize("other", [HOST, CLAIM, SCRATCH])
def test_no_two_volumes_have_the_same_mount_path(one: dict[str, Any], other: dict[str, Any]) -> None:
    (problem,) = problems(raw_spec(volumes=[volume("a", "/mnt", one), volume("b", "/mnt", other)]))
    assert 'have the same mountPath "/mnt"' in problem


def test_mount_paths_are_compared_by_whole_components() -> None:
    assert problems(raw_spec(volumes=[volume("a", "/mnt/data", HOST), volume("b", "/mnt/database", HOST)])) == ()


@pytest.mark.parametrize(
    ("field", "items"),
    [("volumes", [host(), host(mountPath="/other")]), ("env", [{"name": "data"}, {"name": "data", "value": "x"}])],
)
def test_names_in_a_list_are_unique(field: str, items: list[Any]) -> None:
    (problem,) = problems(raw_spec(**{field: items}))
    assert f'{field}: the name "data" stands twice' in problem


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"privileged": True}, "spec.privileged"),
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"serviceAccountName": "x"}, "spec.serviceAccountName"),
        ({"nodeName": "x"}, "spec.nodeName"),
        ({"securityContext": {"privileged": True}}, "spec.securityContext.privileged"),
        ({"securityContext": {"capabilities": {"add": ["ALL"]}}}, "spec.securityContext.capabilities"),
        ({"ports": [{"containerPort": 80, "hostPort": 80}]}, "spec.ports[0].hostPort"),
        ({"volumes": [host(subPathExpr="$(A)")]}, "spec.volumes[0].subPathExpr"),
        ({"volumes": [host(mountPropagation="Bidirectional")]}, "spec.volumes[0].mountPropagation"),
        ({"volumes": [{**host(), "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath"),
        ({"volumes": [host() | {"host": {"path": "/data", "type": "Socket"}}]}, "spec.volumes[0].host.type"),
        ({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {}}}]}, "spec.env[0].valueFrom.fileKeyRef"),
        ({"readinessProbe": {"grpc": {"port": 1}}}, "spec.readinessProbe.grpc"),
        ({"image_pull_policy": "Always"}, "spec.image_pull_policy"),
        ({"working_dir": "/work"}, "spec.working_dir"),
    ],
)
def test_a_field_that_is_not_known_is_refused_and_named(raw: dict[str, Any], named: str) -> None:
    assert f"{named}: is not a field that this version knows; remove it" in problems(raw_spec(**raw))


def test_problems_name_fields_as_they_are_written() -> None:
    (problem,) = problems(raw_spec(env=[{"name": "A", "valueFrom": {}}]))
    assert problem.startswith("spec.env[0].valueFrom: needs exactly one of secretKeyRef, configMapKeyRef,")


def test_all_problems_are_told_at_once_up_to_eight() -> None:
    assert len(problems({"imagePullPolicy": "x", "restartPolicy": "y"})) == 3
    assert len(problems(raw_spec(**{f"unknown{i}": 1 for i in range(50)}))) == 8


@pytest.mark.parametrize("raw", [None, 5, "image", [], True, [{"image": "a"}]])
def test_what_is_no_mapping_is_an_invalid_spec(raw: object) -> None:
    assert isinstance(parse_spec(raw), InvalidSpec)


@pytest.mark.parametrize("text", ["a\ud800", "a\0b", "a\nb", "x" * 5000, "a\u202eb"])
@pytest.mark.parametrize("field", ["host", "subPath", "mountPath", "workingDir"])
def test_hostile_text_in_a_path_is_refused(field: str, text: str) -> None:
    fields: dict[str, dict[str, Any]] = {
        "host": {"volumes": [host(f"/{text}")]},
        "subPath": {"volumes": [host(subPath=text)]},
        "mountPath": {"volumes": [host(mountPath=f"/{text}")]},
        "workingDir": {"workingDir": f"/{text}"},
    }
    found = problems(raw_spec(**fields[field]))
    assert found
    assert all("\n" not in p and "\0" not in p and len(p) < 500 for p in found)


def test_parsing_does_not_change_its_input() -> None:
    volumes = [host(readOnly=True)]
    raw = raw_spec(volumes=volumes, env=[{"name": "A"}], nodeSelector={"a": "b"})
    parse_spec(raw)
    assert raw == raw_spec(volumes=[host(readOnly=True)], env=[{"name": "A"}], nodeSelector={"a": "b"})


FIELDS = [f.alias or name for name, f in SandboxSpec.model_fields.items()] + [
    "host",
    "path",
    "name",
    "mountPath",
    "key",
]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=12)
json_values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=15,
)


@given(json_values)
def test_arbitrary_json_never_raises(raw: object) -> None:
    assert isinstance(parse_spec(raw), SandboxSpec | InvalidSpec)


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6))
def test_arbitrary_values_of_known_fields_never_raise(raw: dict[str, Any]) -> None:
    found = parse_spec({"image": "ubuntu", **raw})
    if isinstance(found, InvalidSpec):
        assert found.problems
        assert all(p.startswith("spec") for p in found.problems)
    else:
        assert parse_spec(found.to_wire()) == found
