"""A revocation that only warns: what runs stays, what was being created does not, and nothing is made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.api_races import DENIED, race, writer
from tests.attack.api_support import uid_of, wait_until_no_pod, wait_until_still, writes
from tests.support import OperatorProcess
from tests.support.fixtures import Recorder, Sandboxes
from tests.verdicts import live

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("warning_only", "no_traceback")


@pytest.fixture(scope="module")
def warning_only(operator: OperatorProcess) -> Iterator[OperatorProcess]:
    """The operator with onRevoke: Warn."""
    with operator.running_with({"SANDMOUNT_ON_REVOKE": "Warn"}):
        yield operator


def test_a_pod_that_was_being_created_goes_even_where_a_revocation_only_warns(
    sandboxes: Sandboxes, shared: Path, record_property: Recorder
) -> None:
    race(sandboxes, shared, record_property)


def test_where_a_revocation_only_warns_a_pod_runs_on_and_is_never_made_again(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess
) -> None:
    names = ("deleted", "restarted", "edited")
    sandboxes.kube.apply([writer(sandboxes, name, shared) for name in names])
    never_ran = writer(sandboxes, "never-ran", shared)
    never_ran["spec"] |= {"image": "not-there:1", "imagePullPolicy": "Never"}
    sandboxes.kube.apply(never_ran)
    for name in names:
        sandboxes.wait_ready(name)
    sandboxes.wait_reason("never-ran", "ErrImageNeverPull")
    uids = {name: uid_of(sandboxes.pod(name)) for name in names}
    sandboxes.kube.set_allowlist("none")
    edited = writer(sandboxes, "edited", shared)
    sandboxes.kube.apply(edited | {"spec": edited["spec"] | {"env": [{"name": "A", "value": "b"}]}})
    wait_until_no_pod(sandboxes, "never-ran")
    for name, uid in uids.items():
        sandboxes.wait_reason(name, DENIED, kind="VolumesAllowed")
        assert uid_of(sandboxes.pod(name)) == uid
        assert writes(shared / name)
    live.check("revoked-warn", sandboxes.get("restarted"))
    with operator.away():
        sandboxes.kube.delete("pod", "deleted", sandboxes.namespace)
    sandboxes.wait_reason("deleted", DENIED)
    assert uid_of(sandboxes.pod("restarted")) == uids["restarted"]
    for name in ("restarted", "edited"):
        sandboxes.kube.delete("pod", name, sandboxes.namespace)
    for name in uids:
        sandboxes.wait_reason(name, DENIED)
        assert sandboxes.pod(name) is None
    wait_until_still(*(shared / name for name in uids))
