"""make_plan: all that was gathered about one Sandbox, to what is done next and what the status says.

Pure: it reads nothing, writes nothing, and the clock is an argument. Checks go from what cannot be undone, over who
owns the Pod's name and what is allowed, to what the Pod does; the first that applies decides.
"""

from dataclasses import replace

from sandmount import healing, paths
from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import LABEL_SANDBOX, InvalidSpec, SandboxSpec
from sandmount.endings import at_its_end, paused
from sandmount.gathered import Gathered
from sandmount.judgement import against_settings, decisions
from sandmount.memory import REPLACED
from sandmount.observe import Pod, Sandbox
from sandmount.pod import SHORTEST_GRACE, build_pod, built_from, labels, same_spec
from sandmount.podstate import is_overdue, state_of, state_of_ending
from sandmount.settings import OnRevoke
from sandmount.status import Loss, State, Verdict, moving, stuck
from sandmount.steps import NODE_AGAIN, CreatePod, DeletePod, Plan, RelabelPod, soon, until_overdue

NAME_TAKEN_AGAIN = 30.0
"""Seconds until a foreign Pod of the Sandbox's name is looked at again; no watch tells when it goes."""

PREVIOUS_POD_AGAIN = 5.0
"""Seconds until a Pod of an earlier Sandbox, or one without our label, is looked at again: its end may be missed."""

COLLECTOR_SECONDS = 15.0
"""Seconds that the garbage collector has for a Pod whose Sandbox is gone. It takes far less, but when thousands go at
once, and for a CRD that was just installed: it looks for new kinds every 30 s."""

REFUSED_AGAIN = 30.0
"""Seconds until a Pod that the API server refused (quota, Pod Security) is tried again."""


def make_plan(gathered: Gathered) -> Plan:
    """The next step for one Sandbox."""
    for question in (_being_deleted, at_its_end, paused, _name_in_use):
        if plan := question(gathered):
            return plan
    return _judge(gathered)


def _judge(gathered: Gathered) -> Plan:
    """What a Sandbox may have, and what follows for its own Pod."""
    sandbox, allowlist, settings = gathered.sandbox, gathered.allowlist, gathered.settings
    firm = settings.on_revoke is OnRevoke.TERMINATE
    if isinstance(sandbox.spec, InvalidSpec):
        return _invalid(sandbox, sandbox.spec, allowlist, gathered.own, firm=firm and allowlist.firm)
    if refusal := against_settings(sandbox.spec, settings):
        return _not_allowed(sandbox.spec, gathered, Verdict(stuck(refusal.reason, refusal.message)), firm=firm)
    grants, denials = decisions(sandbox.namespace, sandbox.spec.volumes, allowlist)
    if denials:
        return _not_allowed(sandbox.spec, gathered, _denied(denials), firm=firm and allowlist.firm)
    return _allowed(gathered, sandbox.spec, grants)


def decided_anew(sandbox: Sandbox, before: Allowlist, now: Allowlist) -> bool:
    """Whether another list may change the plan for a Sandbox. Not when all is granted as it was."""
    if isinstance(sandbox.spec, InvalidSpec):
        return True  # its Pod is judged by what that mounts
    grants, denials = decisions(sandbox.namespace, sandbox.spec.volumes, now)
    return bool(denials) or (grants, denials) != decisions(sandbox.namespace, sandbox.spec.volumes, before)


def plan_without_sandbox(pod: Pod, waited: float) -> Plan:
    """The next step for a Pod whose Sandbox is gone, as a live read says; ``waited`` seconds after that was first seen.

    One that still has its owner reference is the garbage collector's, as long as that is not late. One that lost it (an
    orphaning delete) would keep its host directories with nobody in charge, so it is deleted. A Pod of anybody else is
    left alone.
    """
    if not pod.is_left_over or pod.deleting:
        return Plan()
    if pod.owned_by_namesake and waited < COLLECTOR_SECONDS:
        return Plan(look_again=COLLECTOR_SECONDS - waited)
    return Plan(DeletePod(pod.uid, None, "PodOrphaned", "no Sandbox owns this Pod any more"))


def name_taken(pod: Pod) -> Plan:
    """Another's Pod has the Sandbox's name; it is never touched."""
    words = f'a Pod named "{pod.name}" exists and belongs to {pod.owner}; rename the Sandbox or remove that Pod'
    return Plan(None, Verdict(stuck("PodNameTaken", words)), look_again=NAME_TAKEN_AGAIN)


def pod_refused(verdict: Verdict, *, final: bool, message: str) -> Plan:
    """The API server refused to create the Pod, with this message; ``final`` when it always will."""
    state = stuck("PodRefused", message) if final else moving("PodRefused", message)
    return Plan(None, replace(verdict, state=state), look_again=None if final else REFUSED_AGAIN)


def pod_changed(plan: Plan, pod: Pod, grants: tuple[Grant, ...]) -> Plan | None:
    """What follows when a Pod was made with other host directories than those granted; None when it was not.

    Something in the cluster changes Pods as they are made (a mutating webhook or policy), and would do so again.
    """
    if mounts_what_was_granted(pod, grants) or plan.verdict is None:
        return None
    granted = {(g.root, g.sub_path) for g in grants}
    mounted = {(v.host.path, v.sub_path or "") for v in pod.host_mounts if v.host}
    added = ", ".join(f'"{paths.join(*place)}"' for place in sorted(mounted - granted))
    words = (
        f"admission changed the Pod's host mounts{' and added ' + added if added else ''}; exempt Pods with the label "
        f"{LABEL_SANDBOX} from the webhook or policy that does it"
    )
    state = stuck("PodChanged", words)
    delete = DeletePod(pod.uid, SHORTEST_GRACE, "PodChanged", words, told=False)
    return Plan(delete, replace(plan.verdict, state=state), look_again=REFUSED_AGAIN)


def not_yet(plan: Plan, message: str) -> Plan:
    """The API server could not do the plan's action now; it is tried again, and the status says so meanwhile."""
    if isinstance(plan.action, CreatePod):
        verdict = Verdict(moving("PodNotCreated", message), denials=())
    elif isinstance(plan.action, DeletePod) and plan.verdict is not None:
        state = plan.verdict.state
        words = f"{state.message}; its Pod cannot be deleted yet: {message}"
        verdict = replace(plan.verdict, state=replace(state, message=words))
    else:
        return Plan()
    return Plan(None, verdict)


def _being_deleted(gathered: Gathered) -> Plan | None:
    """The garbage collector takes the Pod, unless a finalizer of somebody's holds the Sandbox back."""
    sandbox, pod = gathered.sandbox, gathered.pod
    if not sandbox.deleting:
        return None
    if not sandbox.held:
        return Plan()
    words = "the Sandbox is being deleted and a finalizer holds it back"
    verdict = Verdict(moving("SandboxDeleted", words, "Stopping"))
    if pod is None or pod.deleting:
        return Plan(None, verdict)
    orphaned = pod.made_for == sandbox.uid and plan_without_sandbox(pod, waited=0.0).action is not None
    if pod.owner_uid != sandbox.uid and not orphaned:
        return Plan(None, verdict)
    return Plan(DeletePod(pod.uid, soon(pod), "SandboxDeleted", words), verdict)


def _name_in_use(gathered: Gathered) -> Plan | None:
    """What there is to say as long as a Pod that is not the Sandbox's own has its name."""
    pod = gathered.pod
    if pod is None or gathered.own is not None:
        return None
    orphaned = plan_without_sandbox(pod, waited=0.0).action
    if not orphaned and not pod.owned_by_namesake and not pod.deleting:
        return name_taken(pod)
    words = f'the Pod of an earlier Sandbox named "{pod.name}" is being removed'
    return Plan(orphaned, Verdict(moving("PreviousPodTerminating", words)), look_again=PREVIOUS_POD_AGAIN)


def _invalid(sandbox: Sandbox, spec: InvalidSpec, allowlist: Allowlist, pod: Pod | None, *, firm: bool) -> Plan:
    """Nothing new is made of a spec that cannot be read; what runs is judged by what it mounts."""
    verdict = Verdict(stuck("InvalidSpec", "; ".join(spec.problems)))
    if pod is None:
        return Plan(None, verdict)
    _, denials = decisions(sandbox.namespace, pod.host_mounts, allowlist)
    if denials and (firm or not pod.started):
        return _revoked(pod, _denied(denials))
    return Plan(None, verdict)


def _denied(denials: tuple[Denial, ...]) -> Verdict:
    return Verdict(stuck(denials[0].reason, "; ".join(d.message for d in denials)), denials=denials)


def _not_allowed(spec: SandboxSpec, gathered: Gathered, verdict: Verdict, *, firm: bool) -> Plan:
    """A Pod that has run stays when the refusal is not firm and its spec is the one that was once allowed."""
    pod = gathered.own
    if pod is None:
        said = gathered.sandbox.memory.gave_up
        return Plan(None, replace(verdict, state=stuck(said.reason, said.message)) if said else verdict)
    unchanged = same_spec(pod.built_from, built_from(spec, ()))
    if pod.phase == "Failed" and not pod.disrupted and unchanged:
        # Nothing of it runs, and that its work failed is not to be forgotten.
        return Plan(None, replace(verdict, state=state_of(pod, None)))
    if pod.started and not firm and not pod.deleting and not pod.disrupted:
        return Plan(None, replace(verdict, state=state_of(pod, gathered.node)) if unchanged else verdict)
    return _revoked(pod, verdict)


def _revoked(pod: Pod, verdict: Verdict) -> Plan:
    if pod.deleting:
        return Plan(None, _stopping(verdict))
    delete = DeletePod(pod.uid, soon(pod), verdict.state.reason, verdict.state.message, told=False)
    return Plan(delete, _stopping(verdict))


def _stopping(verdict: Verdict) -> Verdict:
    return replace(verdict, state=replace(verdict.state, phase="Stopping"))


def _allowed(gathered: Gathered, spec: SandboxSpec, grants: tuple[Grant, ...]) -> Plan:
    pod, node = gathered.own, gathered.node
    if pod is None:
        return _without_pod(gathered, spec, grants)
    if pod.deleting:
        return _ending(gathered, pod, spec, grants)
    if pod.built_from != built_from(spec, grants) or not mounts_what_was_granted(pod, grants):
        grace = None if mounts_what_was_granted(pod, grants) else soon(pod)
        return _replaced(pod, grace, _what_changed(pod, spec, grants))
    if pod.disrupted:
        return _disrupted(gathered, pod)
    kept_back = bool(pod.kept_to) and not pod.node_name
    if kept_back and node is not None and healing.same_node(spec, grants, node) is None:
        why = "no longer has the labels that it needs" if node.found else "is gone"
        return _replaced(pod, None, f'node "{node.name}", which it was kept to, {why}')
    intact = pod.labelled and pod.made_for == gathered.sandbox.uid
    action = None if intact else RelabelPod(pod.uid, labels(gathered.sandbox.name, gathered.sandbox.uid))
    return Plan(action, _granted(state_of(pod, node)), look_again=NODE_AGAIN if kept_back else None)


def _ending(gathered: Gathered, pod: Pod, spec: SandboxSpec, grants: tuple[Grant, ...]) -> Plan:
    """The Pod was asked to end, by us or by anybody."""
    if gathered.sandbox.memory.gave_up and not gathered.ended:
        return _stays_given_up(gathered.sandbox)
    state = state_of_ending(pod, gathered.node, gathered.now)
    if pod.built_from != built_from(spec, grants) and not is_overdue(pod, gathered.now):
        state = moving(REPLACED, f"{_what_changed(pod, spec, grants)}; the Pod is replaced")
    return Plan(None, _granted(state), look_again=until_overdue(pod, gathered.now))


def _granted(state: State, loss: Loss | None = None) -> Verdict:
    return Verdict(state, denials=(), loss=loss)


def _replaced(pod: Pod, grace: int | None, why: str) -> Plan:
    words = f"{why}; the Pod is replaced"
    return Plan(DeletePod(pod.uid, grace, REPLACED, words), _granted(moving(REPLACED, words)))


def _without_pod(gathered: Gathered, spec: SandboxSpec, grants: tuple[Grant, ...]) -> Plan:
    """The first Pod, or the next one: at once, or when it is due, or never again."""
    sandbox, memory = gathered.sandbox, gathered.sandbox.memory
    if memory.gave_up and not gathered.ended:
        return _stays_given_up(sandbox)
    if memory.lost_at:
        if waiting := healing.waiting(memory, memory.lost_at, gathered.now):
            return waiting
    elif memory.had_pod and memory.same_spec and not gathered.ended and not memory.was_replaced:
        return healing.lost(memory, "PodDeleted", "the Pod was deleted", gathered.now)
    node_name = healing.same_node(spec, grants, gathered.node)
    body = build_pod(sandbox.namespace, sandbox.name, sandbox.uid, spec, grants, node_name)
    verdict = _granted(moving("PodCreated", "the Pod has been created"))
    # At once, or the loss that is written there would be taken for that of the new Pod.
    return Plan(CreatePod(body, grants), verdict, at_once=memory.lost_at is not None)


def _disrupted(gathered: Gathered, pod: Pod) -> Plan:
    """A Pod that failed by what was done to it: the loss is written down, then it makes room for the next one."""
    memory = gathered.sandbox.memory
    if memory.gave_up:
        return _stays_given_up(gathered.sandbox)
    reason, words = healing.words_of(pod)
    if memory.lost_at is None:
        return healing.lost(memory, reason, words, gathered.now)
    said = memory.ready
    state = moving(said.reason, said.message) if said else moving(reason, words)
    delete = DeletePod(pod.uid, None, reason, words, told=False)
    return Plan(delete, _granted(state, Loss(memory.restarts, memory.lost_at)))


def _stays_given_up(sandbox: Sandbox) -> Plan:
    memory = sandbox.memory
    said = memory.gave_up
    assert said is not None  # noqa: S101 - asked by both callers
    loss = Loss(memory.restarts, memory.lost_at) if memory.lost_at else None
    return Plan(None, _granted(stuck(said.reason, said.message), loss))


def _what_changed(pod: Pod, spec: SandboxSpec, grants: tuple[Grant, ...]) -> str:
    wanted = built_from(spec, grants)
    if pod.built_from == wanted:
        return "the Pod has other host mounts than those granted"
    return f"the {'allowlist' if same_spec(pod.built_from, wanted) else 'spec'} changed"


def mounts_what_was_granted(pod: Pod, grants: tuple[Grant, ...]) -> bool:
    """Whether the Pod has of the host what was granted, no less and no more, by its own spec.

    An annotation can be written by whoever may patch Pods, and a mount added by whoever may create one.
    """
    mounted = {(v.name, v.host.path, v.sub_path or "", v.read_only) for v in pod.host_mounts if v.host}
    return mounted == {(g.volume, g.root, g.sub_path, g.read_only) for g in grants}
