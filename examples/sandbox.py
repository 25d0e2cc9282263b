"""A Sandbox for each night's training run, printed for kubectl apply."""

import json
from datetime import UTC, datetime, timedelta

from sandmount.api import EnvVar, HostDirectory, Resources, SandboxSpec, SecurityContext, Volume
from sandmount.manifest import Metadata, manifest


def data(path: str, directory: str) -> Volume:
    """A directory below an allowlisted one, read-only."""
    return Volume(
        name="data", host=HostDirectory(path=path), sub_path=directory, mount_path="/mnt/data", read_only=True
    )


def training(epochs: int) -> SandboxSpec:
    """What runs. A value that no Sandbox can have is a pydantic.ValidationError, which names the field."""
    return SandboxSpec(
        image="busybox:stable",
        entrypoint=("sh", "-c", "ls /mnt/data; echo $EPOCHS"),
        env=(EnvVar(name="EPOCHS", value=str(epochs)),),
        resources=Resources(limits={"cpu": 2, "memory": "1Gi"}),
        security_context=SecurityContext(run_as_user=1000, run_as_non_root=True),
        restart_policy="Never",
        expires_at=datetime.now(UTC) + timedelta(hours=8),
        volumes=(data("/srv/sandmount-demo", "datasets/train"),),
    )


if __name__ == "__main__":
    print(json.dumps(manifest(Metadata(name="training"), training(epochs=10)), indent=2))
