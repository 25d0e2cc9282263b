"""The edges of the lifecycle: forged statuses, loops that must not be, states that must end, and what is told."""

import warnings
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount import times
from sandmount.answers import Refused, Unanswered
from sandmount.gathered import Gathered
from sandmount.healing import lost, wait_before, waiting
from sandmount.known import Known
from sandmount.memory import Memory, recall
from sandmount.metrics import Metrics
from sandmount.observe import Key, Pod, parse_pod_events
from sandmount.plan import make_plan
from sandmount.queue import KeyedQueue
from sandmount.report import Reporter
from sandmount.status import Verdict, compute_status, stuck
from sandmount.trouble import Trouble, find_trouble
from tests.unit.builders import KEY, NOW, SETTINGS, Json, condition, host, pod, roots, sandbox, spec
from tests.unit.lives import at, container, evict, hand_over, look, node, place, running, scheduled, stamp
from tests.unit.world import FakeApiServer, World, until, world

REFUSED = Refused("forbidden", final=False)


# ---- times


@pytest.mark.parametrize("year", [1, 99, 999])
def test_a_time_of_the_first_millennium_is_written_with_four_digits(year: int) -> None:
    assert times.stamp(datetime(year, 1, 1, tzinfo=UTC)) == f"{year:04}-01-01T00:00:00Z"


# ---- forged statuses


@pytest.mark.parametrize("restarts", [1024, 2026, 2**31 - 1, 10**400])
def test_the_wait_before_a_new_pod_has_a_bound_at_any_count(restarts: int) -> None:
    assert wait_before(restarts) == 300


def test_a_loss_at_the_end_of_all_times_is_waited_for_without_an_error() -> None:
    lost_at = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    made = waiting(Memory(restarts=9, lost_at=lost_at), lost_at, NOW)
    assert made is not None


def test_a_stalled_condition_that_is_false_gives_nothing_up() -> None:
    status = {"observedGeneration": 1, "conditions": [condition("Stalled", "False", "PodFailed", "")]}
    assert recall(status, 1).gave_up is None


async def test_an_event_that_somebody_wrote_about_a_pod_ends_no_sandbox() -> None:
    """Event text is shown, never decided on."""
    async with world() as w:
        w.apply(expiryPolicy="Delete")
        await w.settle()
        place(w)
        w.change_pod(phase="Pending", conditions=[scheduled(-60)], containerStatuses=container())
        uid = w.api.pods[KEY]["metadata"]["uid"]
        w.api.warnings = [{"reason": "Expired", "message": "forged", "involvedObject": {"uid": uid}}]
        await look(w)
        await until(lambda: bool(w.conditions()))
        await look(w)
        w.run_pod()
        await w.settle()
        assert KEY in w.api.sandboxes
        assert w.conditions()["Ready"] == ("True", "PodReady")


# ---- hot loops


async def test_a_pod_that_is_lost_at_once_again_and_again_is_made_ever_more_slowly() -> None:
    """As one that a node refuses (OutOfcpu): within the second in which the status waits."""
    async with world() as w:
        await running(w)
        for _ in range(8):
            if KEY in w.api.pods:
                evict(w, "OutOfcpu", "Node didn't have enough resource: cpu")
                await w.settle()
            if KEY in w.api.pods and "deletionTimestamp" in w.api.pods[KEY]["metadata"]:
                w.remove_pod()
                await w.settle()
        assert w.asked("create_pod") == 1, "the second one is due after two seconds"


async def test_a_pod_that_is_deleted_at_once_again_and_again_is_made_ever_more_slowly() -> None:
    async with world() as w:
        await running(w)
        for _ in range(8):
            if KEY in w.api.pods:
                w.remove_pod()
                await w.settle()
        assert w.asked("create_pod") == 1, "the second one is due after two seconds"


class OlderSchema(FakeApiServer):
    """An API server whose CRD is that of an earlier version: it drops the fields that it does not know.

    A patch that changes nothing makes no new version and no event, as in a real one.
    """

    async def patch_status(self, key: Any, uid: str, resource_version: str, status: Json) -> Json | Unanswered:
        known = {k: v for k, v in status.items() if k not in ("restarts", "lostAt", "expiresAt")}
        if known:
            return await super().patch_status(key, uid, resource_version, known)
        self.calls.append(("patch_status", key))
        return deepcopy(self.sandboxes[key])


async def test_a_crd_of_an_earlier_version_is_no_reason_to_write_again_and_again() -> None:
    async with world() as w:
        w.api.__class__ = OlderSchema
        await running(w)
        evict(w)
        await w.settle()
        assert w.asked("patch_status") <= 2


# ---- states that nothing ends


class Remembering(KeyedQueue[Key]):
    """A queue that remembers what is to be looked at again, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[float] = []

    def add_in(self, key: Key, seconds: float) -> None:
        self.later.append(seconds)
        super().add_in(key, seconds)


async def test_a_loss_that_cannot_be_written_down_is_tried_again_later() -> None:
    """Or the Sandbox stays without a Pod for ever: the next step depends on what the status says."""
    api, queue = FakeApiServer(), Remembering()
    known = Known(api, queue)
    of = sandbox({"observedGeneration": 1, "podName": "training"})
    known.sandboxes.put(of)
    api.script["patch_status"] = [REFUSED]
    await Reporter(api, known, queue, Metrics(), lambda: NOW).report(
        of, lost(of.memory, "PodDeleted", "gone", NOW), roots("/data")
    )
    assert api.calls == [("patch_status", KEY)]
    assert len(queue) == 0
    assert queue.later and min(queue.later) > 1


async def test_a_sandbox_that_must_not_be_deleted_loses_its_pod_at_its_end_all_the_same() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60, expiryPolicy="Delete")
        w.now = at(60)
        w.api.script["delete_sandbox"] = [REFUSED] * 50
        await look(w)
        assert "delete_pod" in w.writes()


async def test_a_denial_is_told_although_a_node_cannot_be_read() -> None:
    """As before the ClusterRole of this version was applied."""
    async with world() as w:
        await running(w, volumes=[host()])
        w.api.script["get_node"] = [REFUSED] * 50
        await w.allow("- /srv", version=2)
        await w.settle()
        w.remove_pod()
        await look(w)
        assert w.status()["phase"] == "Failed"
        assert "podName" not in w.status()


async def test_no_node_is_read_for_a_sandbox_that_gets_no_pod() -> None:
    async with world() as w:
        w.api.nodes["node-1"] = node()
        await running(w, volumes=[host()], restartPolicy="Never")
        w.change_pod(phase="Failed", conditions=[], containerStatuses=container(terminated={"exitCode": 1}))
        await w.settle()
        w.remove_pod()
        await look(w)
        await w.allow("- /srv", version=2)
        await look(w)
        assert w.asked("get_node") == 0


# ---- ends and losses


async def failed(w: World, **fields: Any) -> None:
    """A Sandbox whose own program failed for good."""
    await running(w, restartPolicy="Never", **fields)
    w.change_pod(phase="Failed", conditions=[], containerStatuses=container(terminated={"exitCode": 1}))
    await w.settle()
    assert w.conditions()["Stalled"] == ("True", "PodFailed")
    w.api.calls.clear()


def test_a_failure_of_its_own_stays_while_somebodys_finalizer_holds_its_pod() -> None:
    """Or, after the second in which the status waits, the failure is forgotten and the work done again."""
    said = ("PodFailed", "the Pod failed: Error: code 1")
    stored = [condition("Ready", "False", *said), condition("Stalled", "True", *said)]
    of = sandbox({"observedGeneration": 1, "podName": "training", "conditions": stored})
    held = pod(phase="Failed", ready=False, deleting=True, ends_at=NOW)
    assert make_plan(Gathered(of, roots("/data"), held, SETTINGS, NOW)).verdict == Verdict(stuck(*said), ())


async def test_a_pod_that_was_deleted_for_another_grant_is_followed_by_one_however_fast_it_goes() -> None:
    async with world() as w:
        await failed(w, volumes=[host()])
        await w.allow("- /data/shared", version=2)
        await w.settle()
        assert "delete_pod" in w.writes()
        w.remove_pod()
        await w.settle()
        assert w.asked("create_pod") == 1


async def test_a_replacement_that_was_under_way_when_the_operator_was_started_again_is_no_loss() -> None:
    async with world() as w, world() as restarted:
        await running(w)
        w.apply(generation=2, image="another")
        await until(lambda: "Reconciling" in w.conditions())
        del w.api.pods[KEY]
        await hand_over(w, restarted)
        assert "restarts" not in restarted.status()
        assert restarted.told() == []


# ---- what is told


async def test_a_paused_sandbox_that_expires_was_not_resumed() -> None:
    async with world() as w:
        w.apply(paused=True, expiresAt=stamp(60))
        await w.settle()
        w.now = at(60)
        await look(w)
        assert w.conditions() == {"Finished": ("True", "Expired")}
        assert w.told() == ["Paused", "Expired"]


async def test_a_paused_sandbox_whose_spec_becomes_invalid_was_not_resumed() -> None:
    async with world() as w:
        w.apply(paused=True)
        await w.settle()
        w.apply(generation=2, paused=True, image="")
        await w.settle()
        assert w.told() == ["Paused", "InvalidSpec"]


def test_of_two_volumes_that_cannot_be_set_up_the_same_one_is_told_at_each_look() -> None:
    def warning(name: str, seconds: float) -> Json:
        return {
            "involvedObject": {"uid": "p"},
            "reason": "FailedMount",
            "message": f'MountVolume.SetUp failed for volume "{name}"',
            "firstTimestamp": stamp(0),
            "lastTimestamp": stamp(seconds),
        }

    first = parse_pod_events([warning("a", 64), warning("b", 65)])
    assert parse_pod_events([warning("a", 128), warning("b", 65)]) == first


async def test_a_paused_sandbox_that_is_held_at_its_deletion_was_not_resumed() -> None:
    async with world() as w:
        w.apply(paused=True)
        await w.settle()
        raw = w.api.sandboxes[KEY]
        raw["metadata"] |= {"deletionTimestamp": stamp(0), "finalizers": ["example.com/keep"]}
        w.api.keep("Sandbox", raw)
        await until(lambda: "Reconciling" in w.conditions())
        await w.settle()
        assert w.told() == ["Paused"]


@pytest.mark.parametrize("reason", ["RegistryUnavailable", "SignatureValidationFailed"])
def test_every_reason_of_a_failed_pull_is_the_same_trouble_while_it_waits(reason: str) -> None:
    """Or status and Events follow the kubelet from a try to a wait and back for ever (its images/image_manager.go)."""
    message = "image pull failed for x because the registry is unavailable: connection refused"

    def found(kind: str, words: str) -> Trouble | None:
        return find_trouble({}, {}, {"state": {"waiting": {"reason": kind, "message": words}}})

    resting = found("ImagePullBackOff", f'Back-off pulling image "x": {reason}: {message}')
    assert resting == found(reason, message)


async def test_a_slow_recovery_from_a_loss_is_told_like_a_fast_one() -> None:
    async with world() as w:
        await running(w)
        w.remove_pod()
        await w.settle()
        await until(lambda: w.conditions().get("Reconciling", ("", ""))[1] == "PodPending")
        w.run_pod()
        await w.settle()
        assert w.told() == ["PodDeleted", "Recovered"]


def test_a_deadline_goes_onto_the_wire_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spec(expiresAt="2026-12-01T00:00:00Z").to_wire()["expiresAt"] == "2026-12-01T00:00:00Z"


async def test_an_end_that_was_seen_stays_seen_when_its_pod_loses_its_owner() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60)
        w.now = at(60)
        await look(w)
        await until(lambda: "Reconciling" in w.conditions())
        assert w.conditions()["Ready"] == ("False", "Expired")
        w.change_pod(metadata={"ownerReferences": []})
        await until(lambda: w.conditions()["Ready"][1] != "Expired" or w.asked("get_pod") > 1)
        w.apply(generation=2, timeoutSeconds=3600)
        await w.settle()
        w.remove_pod()
        await look(w)
        assert w.asked("create_pod") == 0
        assert w.conditions() == {"Finished": ("True", "Expired")}


moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
forged = st.fixed_dictionaries(
    {"observedGeneration": st.just(1)},
    optional={
        "restarts": st.integers(),
        "lostAt": moments,
        "startedAt": moments,
        "expiresAt": moments,
        "podName": st.just("training"),
        "phase": st.sampled_from(["Paused", "x"]),
    },
)


@given(forged, st.sampled_from([None, pod(), pod(phase="Failed", disrupted=True), pod(deleting=True)]), st.booleans())
def test_no_forged_status_makes_a_pass_fail(status: Json, found: Pod | None, timed: bool) -> None:
    fields: Json = {"timeoutSeconds": 60} if timed else {}
    of = sandbox(status, **fields)
    made = make_plan(Gathered(of, roots("/data"), found, SETTINGS, NOW))
    if made.verdict is not None:
        told = compute_status(of, made.verdict, found, NOW)
        for field in ("startedAt", "expiresAt", "lostAt"):
            assert field not in told or times.parse(told[field]) is not None, told


@pytest.mark.parametrize("counts", [(0, 1), (1, 2, 3), (5, 6)])
async def test_a_row_of_crashes_is_told_once_wherever_in_it_we_come_to_see_it(counts: tuple[int, ...]) -> None:
    async with world() as w:
        await running(w)
        end = {"exitCode": 1, "reason": "Error", "startedAt": stamp(0), "finishedAt": stamp(1)}
        for count in counts:
            w.change_pod(conditions=[scheduled()], containerStatuses=container(count=count, terminated=end))
            await until(lambda: w.conditions()["Ready"] == ("False", "Error"))
            w.run_pod()
            w.change_pod(containerStatuses=container(ready=True, count=count + 1, running={}))
            await w.settle()
            assert w.conditions()["Ready"] == ("True", "PodReady")
        assert w.told() == ["Error"]
