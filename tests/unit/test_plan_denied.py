"""make_plan: a Sandbox that is not allowed, by the list or by a setting: what stops, what stays, and what is said."""

from typing import Any

import pytest

from sandmount.allowlist import Allowlist, Denial
from sandmount.gathered import Gathered
from sandmount.observe import Pod
from sandmount.plan import make_plan
from sandmount.pod import LONGEST_GRACE
from sandmount.settings import OnRevoke, SecretRefs, Settings
from sandmount.status import Stage
from sandmount.steps import CreatePod, DeletePod, Plan
from tests.unit.builders import NOW, POD_UID, SETTINGS, allowlist, host, pod, roots, sandbox, spec

WANTED: dict[str, Any] = {"volumes": [host()]}
NEVER_RAN: dict[str, Any] = {"started": False, "ready": False, "phase": "Pending"}
WARN = Settings(on_revoke=OnRevoke.WARN)
NARROWED = roots("/srv")
UNUSABLE = [allowlist("{}"), allowlist("["), Allowlist("absent", unusable=("AllowlistMissing", "gone"))]
WITH_BAD_ITEM = allowlist("- /srv\n- relative")


def plan(found: Pod | None, listed: Allowlist, settings: Settings = SETTINGS, **fields: Any) -> Plan:
    return make_plan(Gathered(sandbox(**{**WANTED, **fields}), listed, found, settings, NOW))


def ours(**changes: Any) -> Pod:
    return pod(spec(**WANTED), (), **changes)


def said(made: Plan) -> tuple[Stage, str, str, bool]:
    """Stage, phase, reason, and whether volumes were denied."""
    assert made.verdict is not None
    state = made.verdict.state
    return state.stage, state.phase, state.reason, bool(made.verdict.denials)


DENIED = (Stage.STUCK, "Failed", "HostPathNotAllowed", True)
STOPPING = (Stage.STUCK, "Stopping", "HostPathNotAllowed", True)
STILL_RUNNING = (Stage.READY, "Running", "PodReady", True)


@pytest.mark.parametrize("listed", [NARROWED, allowlist("none"), WITH_BAD_ITEM])
@pytest.mark.parametrize("settings", [SETTINGS, WARN])
def test_a_denied_sandbox_without_pod_gets_none(listed: Allowlist, settings: Settings) -> None:
    made = plan(None, listed, settings)
    assert made.action is None
    assert said(made) == DENIED


@pytest.mark.parametrize("listed", UNUSABLE)
def test_a_list_that_cannot_be_used_denies_what_does_not_run_yet_with_its_own_reason(listed: Allowlist) -> None:
    made = plan(None, listed)
    assert made.action is None
    assert listed.unusable is not None
    assert said(made) == (Stage.STUCK, "Failed", listed.unusable[0], True)


def test_one_denied_volume_of_several_denies_the_sandbox_and_all_denials_are_told() -> None:
    made = plan(None, roots("/data"), volumes=[host(), host("/home/a", "a"), host("/home/b", "b")])
    assert said(made) == DENIED
    assert made.verdict is not None
    denials = made.verdict.denials or ()
    assert [d.volume for d in denials] == ["a", "b"]
    assert made.verdict.state.message == "; ".join(d.message for d in denials)
    assert all(isinstance(d, Denial) for d in denials)


@pytest.mark.parametrize("settings", [SETTINGS, WARN])
@pytest.mark.parametrize("listed", [NARROWED, WITH_BAD_ITEM, *UNUSABLE])
def test_a_pod_that_never_ran_is_deleted_whatever_the_settings_say(listed: Allowlist, settings: Settings) -> None:
    made = plan(ours(**NEVER_RAN), listed, settings)
    assert isinstance(made.action, DeletePod)
    assert made.action.uid == POD_UID
    assert said(made)[:2] == (Stage.STUCK, "Stopping")


def test_a_running_pod_that_a_valid_list_no_longer_allows_is_deleted_with_the_reason() -> None:
    made = plan(ours(), NARROWED)
    assert isinstance(made.action, DeletePod)
    assert made.verdict is not None
    words = made.verdict.state.message
    assert made.action == DeletePod(POD_UID, 10, "HostPathNotAllowed", words, told=False)
    assert said(made) == STOPPING


@pytest.mark.parametrize(("own", "given"), [(0, 1), (10, 10), (30, 30), (31, 30), (300, 30)])
def test_a_revocation_gives_a_pod_its_own_grace_period_but_at_most_30_seconds(own: int, given: int) -> None:
    made = plan(ours(grace=own), NARROWED, terminationGracePeriodSeconds=0)
    assert LONGEST_GRACE == 30
    assert isinstance(made.action, DeletePod)
    assert made.action.grace == given


@pytest.mark.parametrize(
    ("listed", "settings"), [(NARROWED, WARN), (WITH_BAD_ITEM, SETTINGS), *[(listed, SETTINGS) for listed in UNUSABLE]]
)
def test_a_running_pod_stays_and_its_sandbox_says_that_it_is_no_longer_allowed(
    listed: Allowlist, settings: Settings
) -> None:
    made = plan(ours(), listed, settings)
    assert made.action is None
    assert said(made) == STILL_RUNNING


@pytest.mark.parametrize(("listed", "settings"), [(NARROWED, WARN), (WITH_BAD_ITEM, SETTINGS), (UNUSABLE[0], SETTINGS)])
def test_a_spec_that_changed_to_something_denied_is_stuck_while_its_old_pod_runs_on(
    listed: Allowlist, settings: Settings
) -> None:
    made = plan(ours(), listed, settings, image="another")
    assert made.action is None
    assert said(made)[0] is Stage.STUCK


@pytest.mark.parametrize("settings", [SETTINGS, WARN])
def test_a_denied_pod_that_is_already_going_is_waited_for(settings: Settings) -> None:
    """It ends within LONGEST_GRACE; a kubelet does not hurry when it is asked again."""
    made = plan(ours(deleting=True), NARROWED, settings)
    assert made.action is None
    assert said(made) == STOPPING


def test_a_crashing_pod_that_may_stay_is_told_as_it_is() -> None:
    made = plan(ours(ready=False), NARROWED, WARN)
    assert made.action is None
    assert said(made) == (Stage.MOVING, "Pending", "PodPending", True)


SECRET: dict[str, Any] = {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
CONFIG: dict[str, Any] = {"env": [{"name": "T", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}]}
GVISOR: dict[str, Any] = {"runtimeClassName": "gvisor"}


@pytest.mark.parametrize(
    ("fields", "settings", "reason", "words"),
    [
        (SECRET, SETTINGS, "SecretRefNotAllowed", 'env "T": secretKeyRef is not allowed here; an admin can allow it'),
        (GVISOR, SETTINGS, "RuntimeClassNotAllowed", 'runtimeClassName "gvisor" is not allowed; allowed here: none'),
        (
            GVISOR,
            Settings(runtime_classes=frozenset({"kata", "a"})),
            "RuntimeClassNotAllowed",
            'runtimeClassName "gvisor" is not allowed; allowed here: a, kata',
        ),
    ],
)
def test_what_a_setting_forbids_is_refused_and_stops_a_pod(
    fields: Any, settings: Settings, reason: str, words: str
) -> None:
    made = plan(None, roots("/data"), settings, **fields)
    assert made.action is None
    assert said(made) == (Stage.STUCK, "Failed", reason, False)
    assert made.verdict is not None
    assert words in made.verdict.state.message
    assert made.verdict.denials is None
    for found in (ours(), ours(**NEVER_RAN)):
        assert isinstance(plan(found, roots("/data"), settings, **fields).action, DeletePod)


def test_a_setting_that_forbids_what_runs_only_warns_when_revocations_warn() -> None:
    running = pod(spec(**WANTED, **SECRET))
    assert plan(running, roots("/data"), WARN, **SECRET).action is None


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        (SECRET, Settings(secret_refs=SecretRefs.ALLOW)),
        (CONFIG, SETTINGS),
        (GVISOR, Settings(runtime_classes=frozenset({"gvisor"}))),
        (GVISOR, Settings(runtime_classes=frozenset({"*"}))),
    ],
)
def test_what_a_setting_allows_is_made(fields: Any, settings: Settings) -> None:
    assert isinstance(plan(None, roots("/data"), settings, **fields).action, CreatePod)
