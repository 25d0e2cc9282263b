"""make_plan: a Sandbox, the allowlist and the Pod that is there, to what is done next and what the status says.

Pure: it reads nothing, writes nothing and knows no clock. Checks go from what cannot be judged, over who owns the
Pod's name and what is allowed, to what the Pod does; the first that applies decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import InvalidSpec, SandboxSpec
from sandmount.observe import Pod, Sandbox
from sandmount.pod import build_pod, built_from, labels, same_spec
from sandmount.settings import OnRevoke, SecretRefs, Settings
from sandmount.status import Stage, State, Verdict, finished_condition

MAX_REVOCATION_GRACE = 30
"""Seconds that a Pod may take to end when its permission is gone, whatever its own grace period."""

NAME_TAKEN_AGAIN = 30.0
"""Seconds until a foreign Pod of the Sandbox's name is looked at again; no watch tells when it goes."""

REFUSED_AGAIN = 30.0
"""Seconds until a Pod that the API server refused (quota, Pod Security) is tried again."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create this Pod."""

    body: dict[str, Any]


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
    if sandbox.deleting:
        return Plan()
    if finished := finished_condition(sandbox.status):
        return Plan(None, Verdict(State(Stage.FINISHED, "Succeeded", finished["reason"], finished["message"])))
    if isinstance(sandbox.spec, InvalidSpec):
        return Plan(None, Verdict(_stuck("InvalidSpec", "; ".join(sandbox.spec.problems))))
    if pod is not None and pod.owner_uid != sandbox.uid:
        return _name_in_use(sandbox, pod)
    return _judged(sandbox, sandbox.spec, allowlist, pod, settings)


def _judged(sandbox: Sandbox, spec: SandboxSpec, allowlist: Allowlist, pod: Pod | None, settings: Settings) -> Plan:
    if refusal := _against_settings(spec, settings):
        return _not_allowed(spec, pod, Verdict(refusal), firm=settings.on_revoke is OnRevoke.TERMINATE)
    decisions = [d for v in spec.volumes if (d := allowlist.decide(sandbox.namespace, v)) is not None]
    if denials := tuple(d for d in decisions if isinstance(d, Denial)):
        refusal = _stuck(denials[0].reason, "; ".join(d.message for d in denials))
        firm = allowlist.firm and settings.on_revoke is OnRevoke.TERMINATE
        return _not_allowed(spec, pod, Verdict(refusal, denials=denials), firm=firm)
    return _allowed(sandbox, spec, tuple(d for d in decisions if isinstance(d, Grant)), pod)


def plan_without_sandbox(pod: Pod) -> Plan:
    """The next step for a Pod whose Sandbox is gone, as a live read says.

    One that still has its owner reference is the garbage collector's. One that lost it (an orphaning delete) would
    keep its host directories with nobody in charge of it, so it is deleted; a Pod of anybody else is left alone.
    """
    ours = pod.labelled and pod.made_for is not None and pod.built_from
    if not ours or pod.owner_uid is not None or pod.deleting:
        return Plan()
    return Plan(action=DeletePod(pod.uid, None, "PodOrphaned", "no Sandbox owns this Pod any more"))


def name_taken(pod: Pod) -> Plan:
    """Another's Pod has the Sandbox's name; it is never touched."""
    words = f'a Pod named "{pod.name}" exists and belongs to {pod.owner}; rename the Sandbox or remove that Pod'
    return Plan(None, Verdict(_stuck("PodNameTaken", words)), look_again=NAME_TAKEN_AGAIN)


def pod_refused(verdict: Verdict, *, final: bool, message: str) -> Plan:
    """The API server refused to create the Pod, with this message; ``final`` when it always will."""
    state = _stuck("PodRefused", message) if final else _moving("PodRefused", message)
    return Plan(None, replace(verdict, state=state), look_again=None if final else REFUSED_AGAIN)


def _name_in_use(sandbox: Sandbox, pod: Pod) -> Plan:
    orphaned = plan_without_sandbox(pod).action
    if not orphaned and not pod.owned_by_namesake and not pod.deleting:
        return name_taken(pod)
    words = f'the Pod of an earlier Sandbox named "{sandbox.name}" is being removed'
    state = _moving("PreviousPodTerminating", words)
    return Plan(orphaned, Verdict(state), look_again=NAME_TAKEN_AGAIN)


def _against_settings(spec: SandboxSpec, settings: Settings) -> State | None:
    """Whether the operator's settings forbid something in the spec."""
    secrets = [e.name for e in spec.env if e.value_from and e.value_from.secret_key_ref]
    if secrets and settings.secret_refs is SecretRefs.DENY:
        words = f'env "{secrets[0]}": secretKeyRef is not allowed; an admin can set secretRefs: allow on the operator'
        return _stuck("SecretRefNotAllowed", words)
    name = spec.runtime_class_name
    if name and not settings.runtime_classes & {name, "*"}:
        allowed = ", ".join(sorted(settings.runtime_classes)) or "none"
        words = f'runtimeClassName "{name}" is not allowed; allowed here: {allowed} (setting runtimeClasses)'
        return _stuck("RuntimeClassNotAllowed", words)
    return None


def _not_allowed(spec: SandboxSpec, pod: Pod | None, verdict: Verdict, *, firm: bool) -> Plan:
    """A Pod that has run stays when the refusal is not firm and its spec is the one that was once allowed."""
    if pod is None:
        return Plan(None, verdict)
    stopping = replace(verdict, state=replace(verdict.state, phase="Stopping"))
    if pod.deleting:
        return Plan(None, stopping)
    if pod.started and not firm:
        unchanged = same_spec(pod.built_from, built_from(spec, ()))
        return Plan(None, replace(verdict, state=_from_pod(pod)) if unchanged else verdict)
    grace = min(spec.termination_grace_period_seconds, MAX_REVOCATION_GRACE)
    return Plan(DeletePod(pod.uid, grace, verdict.state.reason, verdict.state.message), stopping)


def _allowed(sandbox: Sandbox, spec: SandboxSpec, grants: tuple[Grant, ...], pod: Pod | None) -> Plan:
    def say(state: State) -> Verdict:
        return Verdict(state, grants, ())

    if pod is None:
        body = build_pod(sandbox.namespace, sandbox.name, sandbox.uid, spec, grants)
        return Plan(CreatePod(body), say(_moving("PodCreated", "the Pod has been created")))
    if pod.deleting:
        return Plan(None, say(_moving("PodTerminating", "waiting for the previous Pod to end")))
    if pod.built_from != built_from(spec, grants):
        what = "allowlist" if same_spec(pod.built_from, built_from(spec, ())) else "spec"
        words = f"the {what} changed; the Pod is replaced"
        return Plan(DeletePod(pod.uid, None, "PodReplaced", words), say(_moving("PodReplaced", words)))
    intact = pod.labelled and pod.made_for == sandbox.uid
    action = None if intact else RelabelPod(pod.uid, labels(sandbox.name, sandbox.uid))
    state = _from_pod(pod)
    return Plan(action, Verdict(state) if state.stage is Stage.FINISHED else say(state))


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
    return _moving(reason or "PodPending", words or "the Pod is being started")


def _moving(reason: str, message: str) -> State:
    return State(Stage.MOVING, "Pending", reason, message)


def _stuck(reason: str, message: str) -> State:
    return State(Stage.STUCK, "Failed", reason, message)


def _sentence(parts: Iterable[str]) -> str:
    return ": ".join(p for p in parts if p) or "no reason is given"
