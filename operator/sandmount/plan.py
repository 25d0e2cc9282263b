"""make_plan: a Sandbox, the allowlist and the Pod that is there, to what is done next and what the status says.

Pure: it reads nothing, writes nothing and knows no clock. Checks go from what cannot be judged, over who owns the
Pod's name and what is allowed, to what the Pod does; the first that applies decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sandmount import paths
from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import LABEL_SANDBOX, InvalidSpec, SandboxSpec
from sandmount.judgement import against_settings, decisions
from sandmount.observe import Pod, Sandbox
from sandmount.pod import LONGEST_GRACE, SHORTEST_GRACE, build_pod, built_from, labels, same_spec
from sandmount.settings import OnRevoke, Settings
from sandmount.status import Stage, State, Verdict, finished_condition

NAME_TAKEN_AGAIN = 30.0
"""Seconds until a foreign Pod of the Sandbox's name is looked at again; no watch tells when it goes."""

PREVIOUS_POD_AGAIN = 5.0
"""Seconds until a Pod of an earlier Sandbox, or one without our label, is looked at again: its end may be missed."""

COLLECTOR_SECONDS = 3.0
"""Seconds that the garbage collector has for a Pod whose Sandbox is gone. It takes far less, but for a CRD that was
just installed: it looks for new kinds every 30 s."""

REFUSED_AGAIN = 30.0
"""Seconds until a Pod that the API server refused (quota, Pod Security) is tried again."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create this Pod, which mounts what was granted."""

    body: dict[str, Any]
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete the Pod with this uid, within ``grace`` seconds or, when None, within its own grace period."""

    uid: str
    grace: int | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RelabelPod:
    """Put our labels back on our Pod, so that the watch sees it again."""

    uid: str
    labels: dict[str, str]


Action = CreatePod | DeletePod | RelabelPod


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what to say. ``verdict`` None leaves the status as it is; ``look_again`` is in seconds."""

    action: Action | None = None
    verdict: Verdict | None = None
    look_again: float | None = None


def make_plan(sandbox: Sandbox, allowlist: Allowlist, pod: Pod | None, settings: Settings) -> Plan:
    """The next step for one Sandbox. ``pod`` is the Pod of its name, whoever made it, or None."""
    ours = pod if pod is not None and pod.owner_uid == sandbox.uid else None
    if sandbox.deleting:
        return _being_deleted(sandbox, pod)
    if finished := finished_condition(sandbox.status):
        return _finished(finished, ours)
    if ours is not None and ours.phase == "Succeeded" and not ours.deleting:
        # Before anything else: what is done must not be done twice. A Pod that is told to end may end with success too,
        # which says nothing about its work.
        return Plan(None, Verdict(_from_pod(ours)))
    if pod is not None and ours is None:
        return _name_in_use(sandbox, pod)
    return _judge(sandbox, allowlist, ours, settings)


def _judge(sandbox: Sandbox, allowlist: Allowlist, pod: Pod | None, settings: Settings) -> Plan:
    """What a Sandbox may have, and what follows for its own Pod."""
    firm = settings.on_revoke is OnRevoke.TERMINATE
    if isinstance(sandbox.spec, InvalidSpec):
        return _invalid(sandbox, sandbox.spec, allowlist, pod, firm=firm and allowlist.firm)
    if refusal := against_settings(sandbox.spec, settings):
        return _not_allowed(sandbox.spec, pod, Verdict(_stuck(refusal.reason, refusal.message)), firm=firm)
    grants, denials = decisions(sandbox.namespace, sandbox.spec.volumes, allowlist)
    if denials:
        return _not_allowed(sandbox.spec, pod, _denied(denials), firm=firm and allowlist.firm)
    return _allowed(sandbox, sandbox.spec, grants, pod)


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
    ours = pod.labelled and pod.made_for is not None and pod.built_from
    if not ours or pod.deleting or (pod.owner_uid is not None and not pod.owned_by_namesake):
        return Plan()
    if pod.owned_by_namesake and waited < COLLECTOR_SECONDS:
        return Plan(look_again=COLLECTOR_SECONDS - waited)
    return Plan(DeletePod(pod.uid, None, "PodOrphaned", "no Sandbox owns this Pod any more"))


def name_taken(pod: Pod) -> Plan:
    """Another's Pod has the Sandbox's name; it is never touched."""
    words = f'a Pod named "{pod.name}" exists and belongs to {pod.owner}; rename the Sandbox or remove that Pod'
    return Plan(None, Verdict(_stuck("PodNameTaken", words)), look_again=NAME_TAKEN_AGAIN)


def pod_refused(verdict: Verdict, *, final: bool, message: str) -> Plan:
    """The API server refused to create the Pod, with this message; ``final`` when it always will."""
    state = _stuck("PodRefused", message) if final else _moving("PodRefused", message)
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
    state = _stuck("PodChanged", words)
    delete = DeletePod(pod.uid, SHORTEST_GRACE, "PodChanged", words)
    return Plan(delete, replace(plan.verdict, state=state), look_again=REFUSED_AGAIN)


def not_yet(plan: Plan, message: str) -> Plan:
    """The API server could not do the plan's action now; it is tried again, and the status says so meanwhile."""
    if isinstance(plan.action, CreatePod):
        verdict = Verdict(_moving("PodNotCreated", message), denials=())
    elif isinstance(plan.action, DeletePod) and plan.verdict is not None:
        state = plan.verdict.state
        words = f"{state.message}; its Pod cannot be deleted yet: {message}"
        verdict = replace(plan.verdict, state=replace(state, message=words))
    else:
        return Plan()
    return Plan(None, verdict)


def _name_in_use(sandbox: Sandbox, pod: Pod) -> Plan:
    orphaned = plan_without_sandbox(pod, waited=0.0).action
    if not orphaned and not pod.owned_by_namesake and not pod.deleting:
        return name_taken(pod)
    words = f'the Pod of an earlier Sandbox named "{sandbox.name}" is being removed'
    state = _moving("PreviousPodTerminating", words)
    return Plan(orphaned, Verdict(state), look_again=PREVIOUS_POD_AGAIN)


def _being_deleted(sandbox: Sandbox, pod: Pod | None) -> Plan:
    """The garbage collector takes the Pod, unless a finalizer of somebody's holds the Sandbox back."""
    if not sandbox.held:
        return Plan()
    words = "the Sandbox is being deleted and a finalizer holds it back"
    verdict = Verdict(State(Stage.MOVING, "Stopping", "SandboxDeleted", words))
    if pod is None or pod.deleting:
        return Plan(None, verdict)
    orphaned = pod.made_for == sandbox.uid and plan_without_sandbox(pod, waited=0.0).action is not None
    if pod.owner_uid != sandbox.uid and not orphaned:
        return Plan(None, verdict)
    return Plan(DeletePod(pod.uid, _soon(pod), "SandboxDeleted", words), verdict)


def _finished(condition: Mapping[str, Any], pod: Pod | None) -> Plan:
    """Final, so that a Pod which still runs must not: the condition may have been written by anybody."""
    verdict = Verdict(State(Stage.FINISHED, "Succeeded", condition["reason"], condition["message"]))
    if pod is None or pod.deleting or pod.phase in ("Succeeded", "Failed"):
        return Plan(None, verdict)
    return Plan(DeletePod(pod.uid, _soon(pod), "Finished", "its Sandbox is finished"), verdict)


def _invalid(sandbox: Sandbox, spec: InvalidSpec, allowlist: Allowlist, pod: Pod | None, *, firm: bool) -> Plan:
    """Nothing new is made of a spec that cannot be read; what runs is judged by what it mounts."""
    verdict = Verdict(_stuck("InvalidSpec", "; ".join(spec.problems)))
    if pod is None:
        return Plan(None, verdict)
    _, denials = decisions(sandbox.namespace, pod.host_mounts, allowlist)
    if denials and (firm or not pod.started):
        return _revoked(pod, _denied(denials))
    return Plan(None, verdict)


def _denied(denials: tuple[Denial, ...]) -> Verdict:
    return Verdict(_stuck(denials[0].reason, "; ".join(d.message for d in denials)), denials=denials)


def _not_allowed(spec: SandboxSpec, pod: Pod | None, verdict: Verdict, *, firm: bool) -> Plan:
    """A Pod that has run stays when the refusal is not firm and its spec is the one that was once allowed."""
    if pod is None:
        return Plan(None, verdict)
    if pod.started and not firm and not pod.deleting:
        unchanged = same_spec(pod.built_from, built_from(spec, ()))
        return Plan(None, replace(verdict, state=_from_pod(pod)) if unchanged else verdict)
    return _revoked(pod, verdict)


def _revoked(pod: Pod, verdict: Verdict) -> Plan:
    if pod.deleting:
        return Plan(None, _stopping(verdict))
    return Plan(DeletePod(pod.uid, _soon(pod), verdict.state.reason, verdict.state.message), _stopping(verdict))


def _soon(pod: Pod) -> int:
    """Seconds for a Pod whose permission is gone."""
    return max(SHORTEST_GRACE, min(pod.grace, LONGEST_GRACE))


def _stopping(verdict: Verdict) -> Verdict:
    return replace(verdict, state=replace(verdict.state, phase="Stopping"))


def _allowed(sandbox: Sandbox, spec: SandboxSpec, grants: tuple[Grant, ...], pod: Pod | None) -> Plan:
    def say(state: State) -> Verdict:
        return Verdict(state, denials=())

    if pod is None:
        body = build_pod(sandbox.namespace, sandbox.name, sandbox.uid, spec, grants)
        return Plan(CreatePod(body, grants), say(_moving("PodCreated", "the Pod has been created")))
    if pod.deleting:
        return Plan(None, say(_moving("PodTerminating", "waiting for the previous Pod to end")))
    if pod.built_from != built_from(spec, grants) or not mounts_what_was_granted(pod, grants):
        words = f"{_what_changed(pod, spec, grants)}; the Pod is replaced"
        grace = None if mounts_what_was_granted(pod, grants) else _soon(pod)
        return Plan(DeletePod(pod.uid, grace, "PodReplaced", words), say(_moving("PodReplaced", words)))
    intact = pod.labelled and pod.made_for == sandbox.uid
    action = None if intact else RelabelPod(pod.uid, labels(sandbox.name, sandbox.uid))
    return Plan(action, say(_from_pod(pod)))


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


def _from_pod(pod: Pod) -> State:
    """What a Pod of ours says about its Sandbox."""
    words = pod.trouble.message if pod.trouble else ""
    reason = pod.trouble.reason if pod.trouble else ""
    match pod.phase:
        case "Succeeded":
            return State(Stage.FINISHED, "Succeeded", "Completed", "the container ended with exit code 0")
        case "Failed":
            return _stuck("PodFailed", f"the Pod failed: {_sentence([reason, words])}")
        case _ if pod.ready:
            return State(Stage.READY, "Running", "PodReady", "the container runs")
    return _moving(reason or "PodPending", _with_place(pod, words) if words else _without_words(pod, reason))


def _without_words(pod: Pod, reason: str) -> str:
    """The kubelet says nothing in a Pod's status while a volume is missing, only in Events."""
    roots = ", ".join(f'"{v.host.path}"' for v in pod.host_mounts if v.host)
    if reason == "ContainerCreating" and roots:
        return f'the container is being created; if it stays so: is {roots} a directory on node "{pod.node_name}"?'
    return "the Pod is being started"


def _with_place(pod: Pod, words: str) -> str:
    """The kubelet's words on a refused subPath, with the place that they are about: it names only the volume."""
    for volume in pod.host_mounts:
        if volume.host and volume.sub_path and "subPath" in words and f'"{volume.name}"' in words:
            root = volume.host.path
            place = paths.join(root, volume.sub_path)
            return f'{words}: it is "{place}" on the node, and a link there that leads out of "{root}" is refused'
    return words


def _moving(reason: str, message: str) -> State:
    return State(Stage.MOVING, "Pending", reason, message)


def _stuck(reason: str, message: str) -> State:
    return State(Stage.STUCK, "Failed", reason, message)


def _sentence(parts: Iterable[str]) -> str:
    return ": ".join(p for p in parts if p) or "no reason is given"
