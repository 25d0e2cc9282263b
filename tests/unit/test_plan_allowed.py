"""make_plan: a Sandbox that is allowed: its Pod is made, waited for, replaced, relabelled, and read."""

from datetime import timedelta
from typing import Any

import pytest

from sandmount.allowlist import Allowlist, Grant
from sandmount.api import Volume
from sandmount.gathered import Gathered
from sandmount.observe import Pod, Sandbox
from sandmount.plan import REFUSED_AGAIN, make_plan, not_yet, pod_changed, pod_refused
from sandmount.pod import LONGEST_GRACE, SHORTEST_GRACE, build_pod, labels
from sandmount.status import Stage, State, Verdict
from sandmount.steps import CreatePod, DeletePod, Plan, RelabelPod
from sandmount.trouble import Trouble
from tests.unit.builders import NAME, NAMESPACE, NOW, POD_UID, SETTINGS, UID, host, mount, pod, roots, sandbox, spec

WANTED: dict[str, Any] = {"volumes": [host()]}
GRANTS = (Grant("data", "/data", "shared", False),)


def plan(found: Pod | None, wanted: Sandbox | None = None, listed: Allowlist | None = None) -> Plan:
    return make_plan(Gathered(wanted or sandbox(**WANTED), listed or roots("/data"), found, SETTINGS, NOW))


def ours(**changes: Any) -> Pod:
    return pod(spec(**WANTED), GRANTS, **changes)


def moving(reason: str, message: str) -> Verdict:
    return Verdict(State(Stage.MOVING, "Pending", reason, message), ())


def test_a_sandbox_without_pod_gets_one() -> None:
    body = build_pod(NAMESPACE, NAME, UID, spec(**WANTED), GRANTS)
    assert plan(None) == Plan(CreatePod(body, GRANTS), moving("PodCreated", "the Pod has been created"))


def test_a_sandbox_without_host_volumes_runs_under_any_list() -> None:
    for text in ([], ["/data"]):
        made = make_plan(Gathered(sandbox(), roots(*text) if text else Allowlist("v"), None, SETTINGS, NOW))
        assert isinstance(made.action, CreatePod)
        assert made.verdict is not None
        assert made.verdict.denials == ()


def test_a_ready_pod_makes_the_sandbox_ready() -> None:
    ready = State(Stage.READY, "Running", "PodReady", "the container runs")
    assert plan(ours()) == Plan(None, Verdict(ready, ()))


def test_a_pod_that_is_going_is_waited_for() -> None:
    words = "waiting for the previous Pod to end"
    expected = Plan(None, moving("PodTerminating", words), look_again=15.0)
    ending: dict[str, Any] = {"deleting": True, "ends_at": NOW + timedelta(seconds=10)}
    assert plan(ours(**ending)) == expected
    replaced = "the spec changed; the Pod is replaced"
    assert plan(ours(**ending, built_from="")) == Plan(None, moving("PodReplaced", replaced), look_again=15.0)


def test_a_changed_spec_replaces_the_pod_within_its_own_grace_period() -> None:
    words = "the spec changed; the Pod is replaced"
    expected = Plan(DeletePod(POD_UID, None, "PodReplaced", words), moving("PodReplaced", words))
    assert plan(ours(), sandbox(image="another", **WANTED)) == Plan(expected.action, moving("PodReplaced", words))
    assert plan(ours(built_from="")) == expected


def test_a_changed_grant_replaces_the_pod() -> None:
    words = "the allowlist changed; the Pod is replaced"
    made = plan(ours(), listed=roots("/data/shared"))
    assert made == Plan(DeletePod(POD_UID, 10, "PodReplaced", words), moving("PodReplaced", words))


def test_a_list_that_grants_the_same_leaves_the_pod_alone() -> None:
    assert plan(ours(), listed=roots("/srv", "/data")) == plan(ours())


@pytest.mark.parametrize("changes", [{"labelled": False}, {"made_for": None}, {"made_for": "another"}])
def test_our_pod_gets_its_labels_back(changes: dict[str, Any]) -> None:
    made = plan(ours(**changes))
    assert made.action == RelabelPod(POD_UID, labels(NAME, UID))
    assert made.verdict == plan(ours()).verdict


def test_a_pod_that_succeeded_finishes_the_sandbox() -> None:
    made = plan(ours(phase="Succeeded", ready=False))
    assert made.action is None
    assert made.verdict is not None
    assert made.verdict.state == State(Stage.FINISHED, "Succeeded", "Completed", "the container ended with exit code 0")


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (None, "the Pod failed: no reason is given"),
        (Trouble("OOMKilled", "the container ended with exit code 137"),
         "the Pod failed: OOMKilled: the container ended with exit code 137"),
        (Trouble("NodeAffinity", ""), "the Pod failed: NodeAffinity"),
    ],
)  # fmt: skip
def test_a_pod_that_failed_stalls_the_sandbox(trouble: Trouble | None, message: str) -> None:
    made = plan(ours(phase="Failed", ready=False, trouble=trouble))
    failed = State(Stage.STUCK, "Failed", "PodFailed", message)
    assert made == Plan(None, Verdict(failed, ()))


@pytest.mark.parametrize(
    ("trouble", "reason", "message"),
    [
        (None, "PodPending", "the Pod is being started"),
        (
            Trouble("ContainerCreating", ""),
            "ContainerCreating",
            'the container is being created; if it stays so: is "/data" a directory on node "node-1"?',
        ),
        (Trouble("Unschedulable", "0/3 nodes"), "Unschedulable", "0/3 nodes"),
        (Trouble("CreateContainerConfigError", "subPath"), "CreateContainerConfigError", "subPath"),
    ],
)
def test_a_pod_that_does_not_run_yet_is_under_way_for_its_own_reason(
    trouble: Trouble | None, reason: str, message: str
) -> None:
    made = plan(ours(phase="Pending", ready=False, started=False, trouble=trouble))
    assert made == Plan(None, moving(reason, message))


@pytest.mark.parametrize("has", [("/elsewhere", "shared", False), ("/data", "other", False), ("/data", "shared", True)])
def test_a_pod_that_mounts_something_else_than_was_granted_is_replaced_whatever_its_annotation_says(
    has: tuple[str, str, bool],
) -> None:
    made = plan(ours(host_mounts=(mount(Grant("data", *has)),)))
    assert isinstance(made.action, DeletePod)
    assert made.action.reason == "PodReplaced"


@pytest.mark.parametrize(
    "more",
    [
        mount(Grant("added", "/usr/local/driver", "", True)),
        mount(Grant("data", "/data", "", False)),
        mount(Grant("data", "/data", "shared", True)),
    ],
)
def test_a_pod_that_has_more_of_the_host_than_was_granted_is_replaced_soon(more: Volume) -> None:
    made = plan(ours(host_mounts=(mount(GRANTS[0]), more), grace=3600))
    words = "the Pod has other host mounts than those granted; the Pod is replaced"
    assert made.action == DeletePod(POD_UID, LONGEST_GRACE, "PodReplaced", words)


def test_a_pod_that_admission_changed_as_it_was_made_is_stuck_and_says_what_to_exempt() -> None:
    added = mount(Grant("gpu", "/usr/local/driver", "lib", True))
    first = plan(None)
    made = pod_changed(first, ours(host_mounts=(mount(GRANTS[0]), added)), GRANTS)
    assert made is not None and made.verdict is not None
    assert isinstance(made.action, DeletePod)
    assert (made.action.uid, made.action.grace) == (POD_UID, SHORTEST_GRACE)
    assert (made.verdict.state.stage, made.verdict.state.reason) == (Stage.STUCK, "PodChanged")
    assert made.verdict.state.message == (
        'admission changed the Pod\'s host mounts and added "/usr/local/driver/lib"; exempt Pods with the label '
        "sandmount.dev/sandbox from the webhook or policy that does it"
    )
    assert pod_changed(first, ours(), GRANTS) is None


def test_what_the_api_server_could_not_do_now_is_said_meanwhile() -> None:
    create = not_yet(plan(None), "500: webhook down").verdict
    assert create == moving("PodNotCreated", "500: webhook down")
    delete = not_yet(plan(ours(built_from="")), "500: webhook down").verdict
    words = "the spec changed; the Pod is replaced; its Pod cannot be deleted yet: 500: webhook down"
    assert delete == moving("PodReplaced", words)


def test_a_refused_sub_path_names_its_place_on_the_node() -> None:
    (mounted,) = spec(volumes=[host("/data", subPath="shared")]).volumes
    words = 'failed to prepare subPath for volumeMount "data" of container "sandbox"'
    found = ours(
        phase="Pending", ready=False, host_mounts=(mounted,), trouble=Trouble("CreateContainerConfigError", words)
    )
    place = 'it is "/data/shared" on the node, and a link there that leads out of "/data" is refused'
    assert plan(found) == Plan(None, moving("CreateContainerConfigError", f"{words}: {place}"))


def test_other_words_of_the_kubelet_are_told_as_they_are() -> None:
    (mounted,) = spec(volumes=[host("/data", subPath="shared")]).volumes
    for words in ('failed to prepare subPath for volumeMount "other"', 'secret "data" not found', "subPath"):
        found = ours(phase="Pending", ready=False, host_mounts=(mounted,), trouble=Trouble("Error", words))
        assert plan(found) == Plan(None, moving("Error", words))


def test_a_container_that_crashes_again_and_again_is_under_way() -> None:
    crash = Trouble("CrashLoopBackOff", "back-off 40s")
    assert plan(ours(ready=False, trouble=crash)) == Plan(None, moving("CrashLoopBackOff", "back-off 40s"))


@pytest.mark.parametrize(
    ("final", "stage", "phase", "again"),
    [(True, Stage.STUCK, "Failed", None), (False, Stage.MOVING, "Pending", REFUSED_AGAIN)],
)
def test_a_pod_that_the_api_server_refused(final: bool, stage: Stage, phase: str, again: float | None) -> None:
    verdict = moving("PodCreated", "the Pod has been created")
    expected = Verdict(State(stage, phase, "PodRefused", "exceeded quota"), ())
    assert pod_refused(verdict, final=final, message="exceeded quota") == Plan(None, expected, again)
