"""A Sandbox that a Python program writes: by the fields' Python names, and as the API server takes it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from sandmount.api import (
    EmptyDirectory,
    EnvSource,
    EnvVar,
    HostDirectory,
    HttpGet,
    InvalidSpec,
    KeySelector,
    Probe,
    SandboxSpec,
    Toleration,
    Volume,
    parse_spec,
)
from sandmount.manifest import Metadata, manifest
from tests.support.installation import REPOSITORY

SPEC = SandboxSpec(
    image="ubuntu",
    working_dir="/work",
    env=(EnvVar(name="MODE", value_from=EnvSource(config_map_key_ref=KeySelector(name="modes", key="night"))),),
    tolerations=(Toleration(key="gpu", operator="Exists", toleration_seconds=60),),
    readiness_probe=Probe(http_get=HttpGet(port=8080), period_seconds=5),
    expires_at=datetime(2026, 12, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    volumes=(
        Volume(name="data", host=HostDirectory(path="/data"), mount_path="/mnt/data", sub_path="a", read_only=True),
        Volume(name="scratch", empty_dir=EmptyDirectory(), mount_path="/scratch"),
    ),
)
WIRE = {
    "image": "ubuntu",
    "workingDir": "/work",
    "env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "modes", "key": "night"}}}],
    "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 60}],
    "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 5},
    "expiresAt": "2026-12-01T00:00:00Z",
    "volumes": [
        {"name": "data", "host": {"path": "/data"}, "mountPath": "/mnt/data", "subPath": "a", "readOnly": True},
        {"name": "scratch", "emptyDir": {}, "mountPath": "/scratch"},
    ],
}


def test_a_spec_is_built_by_python_s_names_and_is_what_the_wire_form_says() -> None:
    assert SPEC.to_wire() == WIRE
    assert parse_spec(WIRE) == SPEC


def test_a_manifest_is_the_whole_sandbox() -> None:
    assert manifest(Metadata(name="training"), SandboxSpec(image="ubuntu")) == {
        "apiVersion": "sandmount.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": "training"},
        "spec": {"image": "ubuntu"},
    }
    metadata = Metadata(name="training", namespace="team-a", labels={"team": "a"})
    assert manifest(metadata, SPEC)["metadata"] == {"name": "training", "namespace": "team-a", "labels": {"team": "a"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "Training"},
        {"name": "a" * 64},
        {"name": "a", "namespace": "team.a"},
        {"name": "a", "labels": {"": "x"}},
        {"name": "a", "labels": {"team": "a b"}},
        {"name": "a", "annotations": {"a b": "x"}},
        {"name": "a", "finalizers": []},
    ],
)
def test_metadata_that_the_api_server_would_refuse_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Metadata(**fields)


@pytest.mark.parametrize(
    "raw",
    [
        {"working_dir": "/work"},
        {"volumes": [{"name": "data", "mount_path": "/mnt", "emptyDir": {}}]},
        {"readinessProbe": {"http_get": {"port": 80}}},
    ],
)
def test_what_the_api_server_sent_has_no_python_s_names(raw: dict[str, Any]) -> None:
    found = parse_spec({"image": "ubuntu", **raw})
    assert isinstance(found, InvalidSpec)
    assert any("is not a field that this version knows" in problem for problem in found.problems)


def test_a_time_without_an_offset_is_no_time() -> None:
    assert SandboxSpec(image="a", expires_at=datetime(2026, 12, 1, tzinfo=UTC)).to_wire()["expiresAt"]
    with pytest.raises(ValidationError, match="with its offset from UTC"):
        SandboxSpec(image="a", expires_at=datetime(2026, 12, 1))  # noqa: DTZ001 - that is what is refused


def test_the_document_shows_the_example_as_it_is() -> None:
    shown = (REPOSITORY / "docs" / "python.md").read_text().partition("```python\n")[2].partition("```\n")[0]
    assert shown == (REPOSITORY / "examples" / "sandbox.py").read_text()
