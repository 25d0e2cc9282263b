"""No accepted host path ever gives a mount outside the root of the entry that granted it, as text."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandmount import paths
from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import LABEL_SANDBOX, SandboxSpec, parse_spec
from sandmount.pod import build_pod
from tests.unit.builders import NAME, NAMESPACE, UID, allowlist, host

names = st.sampled_from(["a", "b", "ab", "a.b", "..a", "a..", "...", "é", " "]) | st.text("ab./ \n\0", max_size=4)
path_texts = st.builds(
    lambda lead, parts: lead + "/".join(parts), st.sampled_from(["/", "", "//"]), st.lists(names, max_size=4)
)
sub_paths = st.none() | path_texts
lists = st.lists(path_texts, max_size=5)


def granted(listed: list[str], path: str, sub_path: str | None) -> tuple[Allowlist, SandboxSpec, Grant] | None:
    """The list, the spec and its grant, when both are accepted and the volume is granted."""
    loaded = allowlist("\n".join(f"- '{item}'" for item in listed) or "[]")
    found = parse_spec({"image": "ubuntu", "volumes": [host(path, subPath=sub_path)]})
    if not isinstance(found, SandboxSpec):
        return None
    decision = loaded.decide(NAMESPACE, found.volumes[0])
    return (loaded, found, decision) if isinstance(decision, Grant) else None


@given(lists, path_texts, sub_paths)
def test_root_and_sub_path_of_a_grant_name_what_was_asked_for_and_lie_within_the_root(
    listed: list[str], path: str, sub_path: str | None
) -> None:
    found = granted(listed, path, sub_path)
    if found is None:
        return
    loaded, _, grant = found
    asked = paths.join(path, sub_path or "")
    assert paths.join(grant.root, grant.sub_path) == asked
    assert asked.split("/")[: len(grant.root.split("/"))] == grant.root.split("/")
    assert loaded.allows_all or grant.root in {e.root for e in loaded.entries}
    assert not set(grant.sub_path.split("/")) & {".", ".."}
    assert not grant.sub_path.startswith("/")


@given(st.lists(path_texts, min_size=1, max_size=5), path_texts, sub_paths)
def test_the_pod_carries_a_listed_root_as_host_path_and_the_rest_as_sub_path(
    listed: list[str], path: str, sub_path: str | None
) -> None:
    found = granted(listed, path, sub_path)
    if found is None:
        return
    _, spec, grant = found
    pod: dict[str, Any] = build_pod(NAMESPACE, NAME, UID, spec, [grant])
    assert pod["metadata"]["labels"][LABEL_SANDBOX] == NAME
    (volume,) = pod["spec"]["volumes"]
    (mount,) = pod["spec"]["containers"][0]["volumeMounts"]
    assert volume["hostPath"] == {"path": grant.root, "type": "Directory"}
    assert volume["hostPath"]["path"] in {item.rstrip("/") for item in listed}
    assert paths.join(grant.root, mount.get("subPath", "")) == paths.join(path, sub_path or "")


@given(lists, path_texts, sub_paths)
def test_a_denial_names_the_path_that_was_asked_for(listed: list[str], path: str, sub_path: str | None) -> None:
    found = parse_spec({"image": "ubuntu", "volumes": [host(path, subPath=sub_path)]})
    if isinstance(found, SandboxSpec):
        decision = allowlist("\n".join(f"- '{i}'" for i in listed) or "none").decide(NAMESPACE, found.volumes[0])
        if isinstance(decision, Denial):
            assert decision.path in (path, paths.join(path, sub_path or ""))


def test_the_strategies_reach_grants_of_every_shape() -> None:
    """Else the properties above would hold for nothing."""
    assert granted(["/a"], "/a", None) is not None
    assert granted(["/a"], "/a/b", "ab/..a") is not None
    assert granted([], "/a/b", "a") is not None
    assert granted(["/a"], "/ab", None) is None
    assert granted(["/a/"], "/a", "../b") is None
