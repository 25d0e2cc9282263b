"""The largest Sandboxes, and paths that nobody thought of: both must be decided, and decided as written down."""

from __future__ import annotations

import json
import unicodedata
from itertools import chain

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes.client import ApiException

from tests.api.cases_bounds import COUNTS
from tests.api.conftest import Sandboxes
from tests.api.sandboxes import Json, absolute_path, place, relative_path, spec

MIB = 1024 * 1024

PATHS = ("spec.workingDir", "spec.volumes[].host.path", "spec.volumes[].mountPath", "spec.volumes[].subPath")

HIDDEN = ("Cc", "Cf", "Zl", "Zp")
"""Unicode's categories of characters that cannot be seen."""

ODD = st.text(st.sampled_from("/.ab:\0\n \u200b\u2028é日🙂"), max_size=12)
"""Paths made of what is special in paths."""

LIKELY = st.lists(st.sampled_from(["", ".", "..", "a", "proc", "dev", "..a", "a\n", "c" * 255, "c" * 256]), max_size=4)
"""Paths made of components that are, or look, special."""


def _largest_volume(index: int) -> Json:
    # mount paths start alike, so that the rules which compare them read them to the end
    return {
        "name": f"v{index}".ljust(63, "v"),
        "host": {"path": absolute_path(1024)},
        "mountPath": absolute_path(1000) + f"{index:024}",
        "subPath": relative_path(1024),
        "readOnly": True,
    }


def _largest_spec() -> Json:
    return spec(
        image="i" * 512,
        imagePullSecrets=[{"name": f"{i:0253}"} for i in range(16)],
        entrypoint=["e" * 2048] * 64,
        workingDir=absolute_path(1024),
        env=[{"name": f"E{i}".ljust(256, "E"), "value": "v" * 1024} for i in range(128)],
        ports=[{"name": f"p{i:014}", "containerPort": 65535 - i, "protocol": "SCTP"} for i in range(32)],
        resources={kind: {f"r{i}": "9" * 64 for i in range(16)} for kind in ("requests", "limits")},
        securityContext={"supplementalGroups": list(range(2**31 - 32, 2**31))},
        runtimeClassName="r" * 253,
        nodeSelector={f"{i:0317}": "n" * 63 for i in range(32)},
        tolerations=[{"key": f"{i:0317}", "operator": "Equal", "value": "t" * 63} for i in range(32)],
        readinessProbe={"exec": {"command": ["c" * 2048] * 64}},
        volumes=[_largest_volume(i) for i in range(32)],
    )


def _with_labels(sandbox: Json, count: int) -> Json:
    """Labels have no bound of their own, so they fill what the schema leaves."""
    labels = {f"l{i}": "x" * 63 for i in range(count)}
    return {**sandbox, "metadata": {**sandbox["metadata"], "labels": labels}}


def test_a_sandbox_with_everything_at_its_largest_is_accepted(sandboxes: Sandboxes) -> None:
    largest = _largest_spec()
    assert len(json.dumps(largest)) > 0.5 * MIB

    assert sandboxes.try_create(largest)["spec"].items() >= largest["spec"].items()


def test_thirty_two_nested_volumes_of_the_longest_paths_are_decided(sandboxes: Sandboxes) -> None:
    """The most that the rules about pairs of volumes can have to do."""
    long = "/🙂" * 512  # the largest in bytes too
    volumes = [_largest_volume(i) | {"mountPath": long[: 1024 - 2 * i], "host": {"path": long}} for i in range(32)]

    with pytest.raises(ApiException) as caught:
        sandboxes.try_create(place("spec.volumes", volumes))

    assert caught.value.status == 422
    assert "inside that of a host or pvc volume" in caught.value.body


def test_a_sandbox_near_the_size_that_the_api_server_can_store_is_stored(stored: Sandboxes) -> None:
    large = _with_labels(_largest_spec(), 8_000)
    assert len(json.dumps(large)) > 1.1 * MIB

    stored.create(large)

    assert stored.get("trial")["spec"].items() >= large["spec"].items()


def test_a_sandbox_that_is_too_large_to_store_is_refused_and_not_cut(stored: Sandboxes) -> None:
    with pytest.raises(ApiException) as caught:
        stored.create(_with_labels(_largest_spec(), 20_000))

    assert "request is too large" in caught.value.body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("length", [1025, 5_000, 200_000])
def test_a_path_that_is_too_long_is_refused(sandboxes: Sandboxes, path: str, length: int) -> None:
    for text in ("a" * length, "/" * length, "/a" * (length // 2) + "/", "🙂" * length):
        with pytest.raises(ApiException) as caught:
            sandboxes.try_create(place(path, text))

        assert "may not be more than 1024" in caught.value.body


@pytest.mark.parametrize("path", COUNTS)
def test_a_list_of_a_thousand_items_is_refused(sandboxes: Sandboxes, path: str) -> None:
    with pytest.raises(ApiException) as caught:
        sandboxes.try_create(place(path, COUNTS[path][1](1_000)))

    assert "must have at most" in caught.value.body


def _is_canonical(path: str) -> bool:
    """The rule for host.path, said another way than the schema says it."""
    components = path.split("/")
    return (
        len(components) > 1
        and components[0] == ""
        and all(part not in ("", ".", "..") and len(part) <= 255 for part in components[1:])
        and all(unicodedata.category(character) not in HIDDEN for character in path)
    )


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.one_of(ODD, ODD.map("/".__add__), LIKELY.map(lambda parts: "/" + "/".join(parts))))
def test_the_schema_takes_exactly_the_canonical_host_paths(sandboxes: Sandboxes, path: str) -> None:
    assert _accepts(sandboxes, "spec.volumes[].host.path", path) == _is_canonical(path)


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.one_of(ODD, LIKELY.map("/".join)))
def test_the_schema_takes_exactly_the_canonical_sub_paths(sandboxes: Sandboxes, path: str) -> None:
    assert _accepts(sandboxes, "spec.volumes[].subPath", path) == _is_canonical("/" + path)


def test_no_character_that_cannot_be_seen_is_in_an_accepted_path(sandboxes: Sandboxes) -> None:
    """Every one that Python's Unicode tables know, many at a time: each volume of a request must be refused."""
    every = map(chr, chain(range(0xD800), range(0xE000, 0x110000)))
    hidden = [character for character in every if unicodedata.category(character) in HIDDEN]
    for start in range(0, len(hidden), 32):
        characters = hidden[start : start + 32]
        volumes = [
            {"name": f"v{i}", "mountPath": f"/v{i}", "host": {"path": f"/a{character}b"}}
            for i, character in enumerate(characters)
        ]
        with pytest.raises(ApiException) as caught:
            sandboxes.try_create(place("spec.volumes", volumes))

        assert len(json.loads(caught.value.body)["details"]["causes"]) == len(characters)


def _accepts(sandboxes: Sandboxes, path: str, value: str) -> bool:
    try:
        sandboxes.try_create(place(path, value))
    except ApiException as error:
        assert error.status == 422
        return False
    return True
