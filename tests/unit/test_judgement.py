"""judge: what is said of a Sandbox before there is a Pod; the operator, the webhook and ``check`` all say this."""

from typing import Any

import pytest

from sandmount.judgement import Judgement, judge
from sandmount.settings import SecretRefs, Settings
from tests.unit.builders import NAME, NAMESPACE, SETTINGS, allowlist, host, raw_sandbox, roots

SECRET = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def judged(text: str = "- /data", settings: Settings = SETTINGS, **fields: Any) -> Judgement:
    """The judgement on a Sandbox with an image that raises no warning."""
    return judge(raw_sandbox(**{"image": "ubuntu:24.04"} | fields), allowlist(text), settings)


def test_a_sandbox_whose_volumes_are_granted_is_allowed() -> None:
    found = judged(volumes=[host("/data/x"), {"name": "tmp", "mountPath": "/mnt/t", "emptyDir": {}}])
    assert found.allowed
    assert (found.namespace, found.name) == (NAMESPACE, NAME)
    assert [(g.root, g.sub_path) for g in found.grants] == [("/data", "x")]
    assert found.warnings == ()


def test_all_denials_are_told_and_grants_beside_them() -> None:
    found = judged(volumes=[host("/a", "a"), host("/data", "b"), host("/c", "c")])
    assert not found.allowed
    assert [d.volume for d in found.denials] == ["a", "c"]
    assert [g.volume for g in found.grants] == ["b"]


def test_of_a_spec_that_is_not_valid_only_the_problems_are_told() -> None:
    found = judged(image=5, volumes=[host("/a")])
    assert not found.allowed
    assert found.problems
    assert found.problems[0].startswith("spec.image: ")
    assert found.denials == ()


@pytest.mark.parametrize("raw", [{}, {"metadata": None}, {"metadata": []}, {"spec": 5}, {"metadata": {"name": None}}])
def test_what_is_hardly_a_sandbox_is_a_problem_and_no_exception(raw: dict[str, Any]) -> None:
    found = judge(raw, roots("/data"), SETTINGS)
    assert found.problems
    assert found.namespace == "default"


def test_a_name_that_is_too_long_is_a_problem() -> None:
    found = judge(raw_sandbox(metadata={"name": "x" * 64}), roots("/data"), SETTINGS)
    assert found.problems == ("metadata.name: has 64 characters; at most 63",)


def test_what_settings_forbid_is_a_refusal_beside_the_denials() -> None:
    found = judged(env=[SECRET], volumes=[host("/a")])
    assert found.refusal is not None
    assert found.refusal.reason == "SecretRefNotAllowed"
    assert [d.volume for d in found.denials] == ["data"]
    assert judged(env=[SECRET], settings=Settings(secret_refs=SecretRefs.ALLOW)).allowed


def test_a_runtime_class_has_to_be_named_by_the_settings() -> None:
    found = judged(runtimeClassName="gvisor")
    assert found.refusal is not None
    assert found.refusal.message == (
        'runtimeClassName "gvisor" is not allowed; allowed here: none (option --runtime-classes)'
    )
    for classes in ({"gvisor"}, {"*"}):
        assert judged(runtimeClassName="gvisor", settings=Settings(runtime_classes=frozenset(classes))).allowed


@pytest.mark.parametrize(
    "image", ["ubuntu", "ubuntu:latest", "host:5000/ubuntu", "a.b/c/d:latest", "host:5000/ubuntu:latest"]
)
def test_an_image_that_may_change_is_a_warning(image: str) -> None:
    assert judged(image=image).warnings == (
        f'image "{image}" may be another one tomorrow; write a version or a digest',
    )


@pytest.mark.parametrize("image", ["ubuntu:24.04", "host:5000/ubuntu:1", "ubuntu@sha256:00", "ubuntu:latest@sha256:00"])
def test_an_image_with_a_version_or_a_digest_is_none(image: str) -> None:
    assert judged(image=image).warnings == ()


def test_a_list_that_allows_all_is_a_warning_where_something_of_the_host_is_mounted() -> None:
    (warning,) = judged("[]", volumes=[host("/a")]).warnings
    assert "every host path is allowed" in warning
    assert judged("[]").warnings == ()


SHARED = "- {path: /data, namespaces: [team-a]}\n- {path: /data, readOnly: true, namespaces: [team-b]}"


def test_a_writable_mount_of_what_others_read_is_a_warning() -> None:
    (warning,) = judged(SHARED, volumes=[host("/data")]).warnings
    assert warning.startswith('volume "data" is writable, and other namespaces may read what is written there')
    assert "team-b" not in warning
    assert judged(SHARED, volumes=[host("/data", readOnly=True)]).warnings == ()
