"""A permission that was taken away: whatever a tenant does to stay, nothing is written half a minute later."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.attack.api_support import (
    POD_USER,
    STILL,
    STUBBORN,
    patch,
    script,
    tenant,
    wait_until_still,
    wait_until_written,
)
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube
from tests.support.fixtures import Recorder, Sandboxes, host_volume

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")

PROMISED = 30.0
"""Seconds after which nothing writes any longer."""

SLACK = 15.0
"""Seconds for the kubelet to kill, and for a machine with other work."""

HOLD: Json = {"metadata": {"finalizers": ["example.com/hold"]}}
FREE: Json = {"metadata": {"finalizers": None}}


def test_nothing_that_ignores_its_end_writes_longer_than_promised(
    sandboxes: Sandboxes, kube: Kube, shared: Path, host: Path, record_property: Recorder
) -> None:
    """The list is tightened, the spec edited, the Sandbox deleted, each with a finalizer of somebody's in the way."""
    stays = host / "stays"
    stays.mkdir()
    stays.chmod(0o777)
    kube.set_allowlist(f"- {shared}\n- {stays}\n")
    namespace = sandboxes.namespace
    pod_user = tenant(kube, namespace, f"pods-{namespace}", POD_USER)
    where = {"list": shared, "held-pod": shared, "prolonged": shared, "edited": stays, "deleted": stays}

    def stubborn(name: str, directory: Path) -> Json:
        volume = host_volume(directory)
        return sandboxes.manifest(name, volume, entrypoint=script(STUBBORN), terminationGracePeriodSeconds=300)

    kube.apply([stubborn(name, directory) for name, directory in where.items()])
    files = {name: directory / name for name, directory in where.items()}
    for name, file in files.items():
        sandboxes.wait_ready(name)
        wait_until_written(file)
    patch(pod_user, "pod", "held-pod", namespace, HOLD)
    patch(kube, SANDBOXES, "deleted", namespace, HOLD)
    begun = time.time()
    try:
        kube.apply(stubborn("edited", host))
        kube.set_allowlist(f"- {stays}\n")
        patch(kube, SANDBOXES, "prolonged", namespace, {"spec": {"env": [{"name": "A", "value": "b"}]}})
        sandboxes.delete("deleted", "--wait=false")
        wait_until_still(*files.values(), seconds=PROMISED + SLACK + STILL)
    finally:
        patch(pod_user, "pod", "held-pod", namespace, FREE)
        patch(kube, SANDBOXES, "deleted", namespace, FREE)
    for name, file in files.items():
        wrote = file.stat().st_mtime - begun
        record_property(f"seconds that {name} still wrote", f"{wrote:.1f}")
        assert wrote < PROMISED + SLACK, name
