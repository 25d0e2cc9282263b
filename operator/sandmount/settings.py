"""Settings of one operator process: what an admin may choose, with the safe choice as default where there is one.

Each setting is an option of ``sandmount run`` and an environment variable; docs/settings.md lists them.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class EmptyAllowlist(StrEnum):
    """What an explicit empty list ``[]`` means."""

    ALLOW = "allow"  # every path, as OpenSandbox documents its [storage] section
    DENY = "deny"


class SecretRefs(StrEnum):
    """Whether ``env[].valueFrom.secretKeyRef`` may be used."""

    ALLOW = "allow"
    DENY = "deny"


class OnRevoke(StrEnum):
    """What happens to a running Sandbox that a valid allowlist no longer allows."""

    TERMINATE = "Terminate"
    WARN = "Warn"


class Admission(StrEnum):
    """What the admission webhook does with a Sandbox that the operator would not run."""

    OFF = "Off"  # there is no webhook
    WARN = "Warn"
    DENY = "Deny"


class Settings(BaseModel):
    """All settings; frozen, made once at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field(default="sandmount-system", min_length=1)
    """The operator's own namespace: the allowlist is read there and nowhere else."""

    allowlist_name: str = Field(default="sandmount-host-paths", min_length=1)
    """Name of the allowlist's ConfigMap."""

    empty_allowlist: EmptyAllowlist = EmptyAllowlist.ALLOW
    secret_refs: SecretRefs = SecretRefs.DENY
    on_revoke: OnRevoke = OnRevoke.TERMINATE

    runtime_classes: frozenset[str] = frozenset()
    """RuntimeClasses that a Sandbox may name; ``*`` stands for any."""

    workers: int = Field(default=16, ge=1, le=256)
    """Sandboxes looked at at the same time, so requests under way to the API server."""

    http_address: str = ""
    """Address of this machine at which /healthz, /readyz and /metrics are answered; empty for all."""

    http_port: int = Field(default=0, ge=0, le=65535)
    """Port for these; 0 for none."""

    admission: Admission = Admission.OFF

    admission_address: str = ""
    """Address of this machine on which the admission webhook listens; empty for all."""

    admission_port: int = Field(default=9443, ge=1, le=65535)

    admission_service: str = Field(default="sandmount-webhook", min_length=1, max_length=63)
    """Name of the Service, in the operator's own namespace, by which the API server calls the webhook."""

    admission_secret: str = Field(default="sandmount-webhook", min_length=1)
    """Name of the Secret, in the operator's own namespace, with the webhook's certificate."""
