"""review: which requests are judged, what is answered, and that warnings arrive whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount import admission
from sandmount.admission import Answer, review
from sandmount.allowlist import Allowlist
from sandmount.settings import Admission, Settings
from tests.unit.builders import Json, allowlist, host, raw_sandbox, roots

DENY, WARN = Settings(admission=Admission.DENY), Settings(admission=Admission.WARN)
PASSES = Answer(allowed=True)
SECRET = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def sandbox(*volumes: Json, metadata: Json | None = None, **fields: Any) -> Json:
    """A Sandbox about whose image there is nothing to say."""
    return raw_sandbox(metadata=metadata, **{"image": "ubuntu:24.04", "volumes": list(volumes)} | fields)


def create(new: Json, found: Allowlist | None = None, settings: Settings = DENY) -> Answer:
    """The answer to a creation, by an allowlist of /data."""
    return review("CREATE", new, None, found or roots("/data"), settings)


def update(old: Json, new: Json, found: Allowlist | None = None, settings: Settings = DENY) -> Answer:
    """The answer to a change, by an allowlist of /data."""
    return review("UPDATE", new, old, found or roots("/data"), settings)


DENIED = sandbox(host("/etc/x", "a"), host("/data", "b"), host("/srv", "c"))
WORDS = (
    'volume "a": host.path "/etc/x" is not on the allowlist; allowed here: at or below "/data"',
    'volume "c": host.path "/srv" is not on the allowlist; allowed here: at or below "/data"',
)


def test_a_creation_that_is_allowed_passes_without_a_word() -> None:
    assert create(sandbox(host("/data/x"))) == PASSES


def test_a_creation_is_refused_with_all_denials_as_the_status_joins_them() -> None:
    assert create(DENIED) == Answer(allowed=False, message="; ".join(WORDS))


def test_with_warn_each_denial_is_a_warning_and_the_creation_passes() -> None:
    assert create(DENIED, settings=WARN) == Answer(allowed=True, warnings=WORDS)


def test_an_invalid_spec_is_refused_with_its_problems() -> None:
    found = create(sandbox(image=5))
    assert not found.allowed
    assert found.message.startswith("spec.image: ")


def test_what_the_settings_forbid_is_refused_before_denials_as_in_the_status() -> None:
    found = create(sandbox(host("/srv"), env=[SECRET]))
    assert not found.allowed
    assert found.message.startswith('env "T": secretKeyRef is not allowed here')
    assert "/srv" not in found.message


def test_what_is_worth_a_thought_is_a_warning_beside_either_answer() -> None:
    latest = 'image "ubuntu" may be another one tomorrow; write a version or a digest'
    assert create(sandbox(host("/data"), image="ubuntu")) == Answer(allowed=True, warnings=(latest,))
    refused = create(sandbox(host("/srv"), image="ubuntu"))
    assert (refused.allowed, refused.warnings) == (False, (latest,))
    warned = create(sandbox(host("/srv"), image="ubuntu"), settings=WARN)
    assert warned.warnings[-1] == latest and len(warned.warnings) == 2


def test_an_empty_allowlist_is_a_warning() -> None:
    found = create(sandbox(host("/srv")), allowlist("[]"))
    assert found.allowed
    assert "every host path is allowed" in found.warnings[0]


def test_before_a_list_is_loaded_everything_passes_and_says_so() -> None:
    assert review("CREATE", DENIED, None, None, DENY) == Answer(allowed=True, warnings=(admission.NOT_LOADED,))


UNJUDGED = {
    "labels": sandbox(host("/srv"), metadata={"labels": {"a": "b"}}),
    "finalizers": sandbox(host("/srv"), metadata={"finalizers": ["a/b"]}),
    "the image": sandbox(host("/srv"), image="ubuntu"),
    "a forbidden variable": sandbox(host("/srv"), env=[SECRET]),
    "a field that is not known": sandbox(host("/srv"), paused=True),
    "no volumes any more": sandbox(),
    "volumes that are no list": sandbox() | {"spec": {"volumes": 5}},
    "no spec": {"metadata": {}},
}


@pytest.mark.parametrize("new", UNJUDGED.values(), ids=UNJUDGED)
def test_a_change_of_anything_but_volumes_passes_although_the_list_denies(new: Json) -> None:
    assert update(sandbox(host("/srv")), new) == PASSES


def test_another_order_of_volumes_is_no_change() -> None:
    one, other = host("/srv", "a"), host("/etc/x", "b")
    assert update(sandbox(one, other), sandbox(other, one)) == PASSES


CHANGES = {
    "path": host("/srv/x"),
    "subPath": host("/srv", subPath="x"),
    "readOnly": host("/srv", readOnly=True),
    "mountPath": host("/srv") | {"mountPath": "/mnt/other"},
    "name": host("/srv", "other"),
}


@pytest.mark.parametrize("volume", CHANGES.values(), ids=CHANGES)
def test_a_changed_volume_is_judged(volume: Json) -> None:
    found = update(sandbox(host("/srv")), sandbox(volume))
    assert not found.allowed
    assert "is not on the allowlist" in found.message
    assert update(sandbox(host("/srv")), sandbox(volume), settings=WARN).warnings == (found.message,)


def test_of_a_change_only_the_volumes_that_changed_are_judged() -> None:
    kept = host("/srv", "kept")
    assert update(sandbox(kept), sandbox(kept, host("/data", "new"))) == PASSES
    found = update(sandbox(kept), sandbox(kept, host("/etc/x", "new")))
    assert '"new"' in found.message and '"kept"' not in found.message


def test_a_change_that_the_settings_forbid_is_the_operator_s_to_refuse() -> None:
    assert update(sandbox(), sandbox(host("/data"), env=[SECRET])) == PASSES


def test_while_a_sandbox_is_being_deleted_every_change_passes() -> None:
    going = sandbox(host("/etc/x"), metadata={"deletionTimestamp": "2026-01-02T03:04:05Z"})
    assert update(sandbox(), going) == PASSES


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT", ""])
def test_other_operations_pass(operation: str) -> None:
    assert review(operation, DENIED, sandbox(), roots("/data"), DENY) == PASSES


def test_a_change_without_the_old_object_passes() -> None:
    assert review("UPDATE", DENIED, None, roots("/data"), DENY) == PASSES


def test_a_long_refusal_is_cut_as_the_status_cuts_it() -> None:
    many = [host(f"/srv/{'x' * 200}/{n}", f"v{n}") for n in range(32)]
    message = create(sandbox(*many)).message
    assert len(message) == 4096
    assert message.endswith("...")


def test_many_warnings_stay_within_what_the_api_server_passes_on_and_count_the_rest() -> None:
    many = [host(f"/srv/{'x' * 200}/{n}", f"v{n}") for n in range(32)]
    found = create(sandbox(*many), settings=WARN).warnings
    assert sum(len(w) for w in found) < 4000
    assert found[-1] == f"and {32 - (len(found) - 1)} more; see the Sandbox's status"
    assert len(found) > 5


def test_no_single_warning_takes_the_place_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_objections", lambda _: ["a" * 5000, "b"])
    found = create(DENIED, settings=WARN).warnings
    assert found == ("a" * 997 + "...", "b")


def test_no_character_reaches_a_warning_that_a_header_cannot_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_objections", lambda _: ["a\nb\x00c\ud800d\u2028e"])
    assert create(DENIED, settings=WARN).warnings == ("a b c d e",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["volumes", "name", "host", "path", "mountPath", "image", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
OBJECTS = st.fixed_dictionaries({}, optional={"metadata": JSON, "spec": JSON, "status": JSON})


@given(new=OBJECTS, old=OBJECTS, operation=st.sampled_from(["CREATE", "UPDATE"]))
def test_whatever_is_asked_there_is_an_answer_and_a_refusal_has_a_reason(new: Json, old: Json, operation: str) -> None:
    found = review(operation, new, old, roots("/data"), DENY)
    assert found.allowed or found.message
