"""The Reconciler through a Sandbox's life: deadlines, pauses, losses, and an operator that is started again."""

from typing import Any

import pytest

from sandmount.answers import Conflict, Missing, Refused, Transient
from tests.unit.builders import KEY, STAMP, host
from tests.unit.lives import at, container, evict, hand_over, look, node, place, running, scheduled, stamp
from tests.unit.world import World, until, world

REFUSED = Refused("forbidden", final=False)
WANTED = [host()]


def kept_to(w: World) -> list[Any]:
    """The node that the Pod is kept to by its name."""
    required = w.api.pods[KEY]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    return [f["values"] for f in term.get("matchFields", ())]


# ---- deadlines


async def test_an_end_comes_without_any_event_and_is_told_once() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60)
        assert w.status()["expiresAt"] == stamp(60)
        w.now = at(59.95)
        await look(w)
        assert w.api.calls == []
        w.now = at(60)
        await until(lambda: w.asked("delete_pod") == 1)
        assert w.api.graces == [None]
        w.remove_pod()
        await w.settle()
        assert w.conditions() == {"Finished": ("True", "Expired")}
        assert (w.status()["phase"], w.status()["startedAt"]) == ("Terminated", STAMP)
        assert "podName" not in w.status()
        assert w.told() == ["Expired"]


async def test_a_deadline_that_passed_while_the_operator_was_down_is_acted_on_when_it_is_back() -> None:
    async with world() as w, world() as restarted:
        await running(w, timeoutSeconds=60)
        w.now = at(3600)
        await hand_over(w, restarted)
        assert restarted.writes() == ["patch_status", "delete_pod"]
        restarted.remove_pod()
        await restarted.settle()
        assert restarted.conditions() == {"Finished": ("True", "Expired")}


async def test_a_deadline_that_is_moved_before_it_passes_renews_the_sandbox_and_costs_one_write() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60)
        w.apply(generation=2, timeoutSeconds=120)
        await w.settle()
        assert w.writes() == ["patch_status"]
        w.now = at(60)
        await look(w)
        assert w.writes() == ["patch_status"]
        assert w.status()["expiresAt"] == stamp(120)
        assert w.conditions()["Ready"] == ("True", "PodReady")


async def test_a_timeout_still_counts_from_the_first_start_after_the_pod_was_replaced() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60)
        w.apply(generation=2, image="another", timeoutSeconds=60)
        await w.settle()
        w.remove_pod()
        await w.settle()
        w.run_pod()
        w.change_pod(conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": stamp(30)}])
        await w.settle()
        assert (w.status()["startedAt"], w.status()["expiresAt"]) == (STAMP, stamp(60))


async def test_with_the_policy_delete_the_sandbox_goes_and_that_is_told() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60, expiryPolicy="Delete")
        w.now = at(60)
        await look(w)
        assert w.api.sandboxes == {}
        assert w.writes() == ["delete_sandbox", "create_event"]
        assert [(e["type"], e["reason"], e["note"]) for e in w.api.events] == [
            ("Normal", "Expired", f"timeoutSeconds is 60, and ended at {stamp(60)}; the Sandbox is deleted")
        ]
        w.remove_pod()
        await look(w)
        assert w.writes() == ["delete_sandbox", "create_event"]


async def test_a_finalizer_holds_an_expired_sandbox_but_not_its_pod() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60, expiryPolicy="Delete")
        w.api.sandboxes[KEY]["metadata"]["finalizers"] = ["example.com/keep"]
        w.api.keep("Sandbox", w.api.sandboxes[KEY])
        w.now = at(60)
        await look(w)
        assert w.writes()[:3] == ["delete_sandbox", "create_event", "delete_pod"]
        assert w.asked("delete_sandbox") == 1


async def test_a_sandbox_that_was_changed_a_moment_ago_is_not_deleted_and_looked_at_again() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60, expiryPolicy="Delete")
        w.now = at(60)
        w.watching = False
        w.apply(generation=2, timeoutSeconds=120, expiryPolicy="Delete")
        w.watching = True
        w.watch("Pod", w.api.pods[KEY])
        await w.settle()
        assert w.writes() == ["delete_sandbox"]
        w.watch("Sandbox", w.api.sandboxes[KEY])
        await w.settle()
        assert KEY in w.api.sandboxes
        assert w.asked("delete_sandbox") == 1
        assert w.status()["expiresAt"] == stamp(120)


async def test_a_deletion_that_met_a_conflict_is_tried_again_without_any_event() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60, expiryPolicy="Delete")
        w.api.script["delete_sandbox"] = [Conflict()]
        w.now = at(60)
        await look(w)
        assert w.writes() == ["delete_sandbox"]
        await until(lambda: w.api.sandboxes == {})
        assert w.asked("delete_sandbox") == 2


async def test_an_expired_sandbox_that_somebody_else_deleted_is_forgotten() -> None:
    async with world() as w:
        await running(w, timeoutSeconds=60, expiryPolicy="Delete")
        w.api.script["delete_sandbox"] = [Missing()]
        w.now = at(60)
        await look(w)
        assert w.reconciler.known.sandboxes.get(KEY) is None
        assert w.asked("delete_sandbox") == 1


# ---- pauses


async def test_a_pause_and_going_on_again() -> None:
    async with world() as w:
        w.api.nodes["node-1"] = node()
        await running(w, volumes=WANTED)
        w.apply(generation=2, volumes=WANTED, paused=True)
        await w.settle()
        assert w.writes() == ["delete_pod"]
        w.remove_pod()
        await w.settle()
        assert w.writes() == ["delete_pod", "patch_status", "create_event"]
        assert w.conditions() == {"Paused": ("True", "Paused")}
        assert (w.status()["phase"], w.status()["nodeName"]) == ("Paused", "node-1")
        assert not {"podName", "podIP", "volumes"} & set(w.status())
        w.apply(generation=3, volumes=WANTED)
        await w.settle()
        assert kept_to(w) == [["node-1"]]
        await until(lambda: w.status()["phase"] == "Resuming")
        place(w)
        w.run_pod()
        await w.settle()
        assert w.conditions() == {"Ready": ("True", "PodReady"), "VolumesAllowed": ("True", "Granted")}
        assert "restarts" not in w.status()
        assert w.told() == ["Paused", "Resumed"]


async def test_a_sandbox_that_is_created_paused_never_has_a_pod() -> None:
    async with world() as w:
        w.apply(paused=True, volumes=[host("/not/allowed")])
        await w.settle()
        assert w.api.calls == [("patch_status", KEY), ("create_event", KEY)]
        assert w.conditions() == {"Paused": ("True", "Paused")}


async def test_a_paused_sandbox_that_goes_on_with_what_is_no_longer_allowed_is_denied() -> None:
    async with world() as w:
        w.apply(paused=True, volumes=WANTED)
        await w.settle()
        await w.allow("- /srv", version=2)
        await w.settle()
        assert w.asked("patch_status") == 1
        w.apply(generation=2, volumes=WANTED)
        await w.settle()
        assert w.conditions()["Stalled"] == ("True", "HostPathNotAllowed")
        assert w.asked("create_pod") == 0


async def test_a_pause_that_is_taken_back_while_the_pod_ends_makes_a_new_one_and_counts_no_loss() -> None:
    async with world() as w:
        await running(w)
        w.apply(generation=2, paused=True)
        await w.settle()
        w.apply(generation=3)
        await w.settle()
        w.remove_pod()
        await w.settle()
        w.run_pod()
        await w.settle()
        assert (w.asked("delete_pod"), w.asked("create_pod")) == (1, 1)
        assert "restarts" not in w.status()
        assert w.told() == []


# ---- losses


async def lose(w: World) -> None:
    """Somebody deletes the Pod, after its status had time to be written."""
    w.remove_pod()
    await w.settle()


async def test_a_loss_is_written_down_before_the_next_pod_is_made() -> None:
    async with world() as w:
        w.api.nodes["node-1"] = node()
        await running(w, volumes=WANTED)
        written: list[Any] = []

        async def as_it_is_made() -> None:
            written.append((w.status()["restarts"], w.status()["lostAt"], w.status()["nodeName"]))

        w.api.meanwhile["create_pod"] = as_it_is_made
        await lose(w)
        assert [verb for verb, _ in w.api.calls if verb != "get_node"][:6] == [
            "get_pod",
            "get_sandbox",
            "patch_status",
            "create_event",
            "get_sandbox",
            "create_pod",
        ]
        assert written == [(1, STAMP, "node-1")]
        assert kept_to(w) == [["node-1"]]
        place(w)
        w.run_pod()
        await w.settle()
        assert w.status()["restarts"] == 1
        assert "lostAt" not in w.status()
        assert w.told()[:1] == ["PodDeleted"]


async def again(w: World) -> None:
    """The next Pod is due, made, and ready."""
    w.now = at((w.now - at(0)).total_seconds() + 301)
    await look(w)
    w.run_pod()
    await w.settle()


async def test_ten_losses_in_a_row_are_healed_and_the_next_one_is_not_and_no_restart_of_ours_forgets_that() -> None:
    async with world() as w, world() as restarted:
        await running(w)
        for count in range(1, 11):
            await lose(w)
            assert w.status()["restarts"] == count
            await again(w)
            assert w.conditions()["Ready"] == ("True", "PodReady")
        await hand_over(w, restarted)
        await lose(restarted)
        assert restarted.conditions()["Stalled"] == ("True", "RestartLimit")
        assert restarted.status()["restarts"] == 11
        made = restarted.asked("create_pod")
        for _ in range(3):
            restarted.now = at(10**6)
            await look(restarted)
        assert restarted.asked("create_pod") == made == 0
        restarted.apply(generation=2, timeoutSeconds=10**7)
        await restarted.settle()
        assert restarted.asked("create_pod") == 0
        restarted.apply(generation=3, image="another")
        await restarted.settle()
        assert restarted.asked("create_pod") == 1


async def test_ten_minutes_of_being_ready_forgive_all_losses() -> None:
    async with world() as w:
        await running(w)
        await lose(w)
        await again(w)
        w.now = at((w.now - at(0)).total_seconds() + 600)
        await lose(w)
        assert w.status()["restarts"] == 1


async def test_a_new_pod_waits_for_its_time_and_an_operator_that_is_started_again_waits_on() -> None:
    async with world() as w, world() as restarted:
        await running(w)
        await lose(w)
        await again(w)
        await lose(w)
        assert (w.status()["restarts"], w.asked("create_pod")) == (2, 1)
        await hand_over(w, restarted)
        await look(restarted)
        assert restarted.asked("create_pod") == 0
        restarted.now = at((w.now - at(0)).total_seconds() + 2)
        await look(restarted)
        assert restarted.asked("create_pod") == 1


async def test_an_evicted_pod_is_a_loss_and_makes_room_for_the_next_one() -> None:
    async with world() as w:
        await running(w, restartPolicy="Never")
        evict(w)
        await w.settle()
        assert w.writes() == ["patch_status", "create_event", "delete_pod"]
        w.remove_pod()
        await w.settle()
        assert w.asked("create_pod") == 1
        w.run_pod()
        await w.settle()
        assert w.status()["restarts"] == 1
        assert w.told()[:1] == ["Evicted"]
        assert w.told().count("Evicted") == 1


async def test_a_failure_of_its_own_stays_also_when_its_pod_vanishes_and_we_are_started_again() -> None:
    async with world() as w, world() as restarted:
        await running(w, restartPolicy="Never")
        w.change_pod(phase="Failed", conditions=[], containerStatuses=container(terminated={"exitCode": 1}))
        await w.settle()
        assert w.conditions()["Stalled"] == ("True", "PodFailed")
        w.remove_pod()
        await w.settle()
        await hand_over(w, restarted)
        for other in (w, restarted):
            assert other.asked("create_pod") == 0
            assert other.conditions()["Stalled"] == ("True", "PodFailed")
        restarted.apply(generation=2, restartPolicy="Never", expiresAt=stamp(10**6))
        await restarted.settle()
        assert restarted.asked("create_pod") == 0
        restarted.apply(generation=3, restartPolicy="Never", image="another")
        await restarted.settle()
        assert restarted.asked("create_pod") == 1


@pytest.mark.parametrize("answer", [Conflict(), Missing(), REFUSED, Transient("busy")])
async def test_a_loss_that_cannot_be_written_down_makes_no_pod_and_no_hot_loop(answer: object) -> None:
    async with world() as w:
        await running(w)
        w.api.script["patch_status"] = [answer] * 50
        w.remove_pod()
        await w.settle()
        assert (w.asked("patch_status"), w.asked("create_pod")) == (1, 0)
        assert w.told() == []


@pytest.mark.parametrize("answer", [Conflict(), Transient("busy")])
async def test_a_loss_that_could_not_be_written_down_for_now_is_counted_once(answer: object) -> None:
    async with world() as w:
        await running(w)
        w.api.script["patch_status"] = [answer]
        w.remove_pod()
        await until(lambda: w.asked("create_pod") == 1)
        assert w.status()["restarts"] == 1
        assert w.told() == ["PodDeleted"]


async def test_a_ghost_has_lost_nothing() -> None:
    async with world() as w:
        await running(w)
        w.api.sandboxes.clear()
        evict(w)
        await w.settle()
        assert w.writes() == []
        assert w.asked("get_sandbox") == 1


async def test_a_pod_that_waits_for_its_node_is_made_anew_when_that_is_gone() -> None:
    async with world() as w:
        w.api.nodes["node-1"] = node()
        await running(w, volumes=WANTED)
        await lose(w)
        assert kept_to(w) == [["node-1"]]
        w.api.nodes.clear()
        w.api.calls.clear()
        await look(w)
        assert w.writes()[:1] == ["delete_pod"]
        w.remove_pod()
        await w.settle()
        assert kept_to(w) == []
        assert w.status()["restarts"] == 1


async def test_no_node_is_read_while_nothing_depends_on_one() -> None:
    async with world() as w:
        await running(w, volumes=WANTED)
        await look(w)
        w.change_pod(phase="Pending", conditions=[scheduled()], containerStatuses=container())
        await look(w)
        assert w.asked("get_node") == 0
