"""What users write: group, names and labels, and the models of a Sandbox's spec.

The API server's schema (crds/sandboxes.yaml) has refused most bad input before it comes here. These models parse it a
second time and trust nothing: an object stored under an older schema, or a schema that somebody edited, must not
become a Pod. Bounds and rules are those of the schema. A bad spec is a value here, never an exception.
"""

import hashlib
import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from sandmount import paths
from sandmount.fields import (
    Arguments,
    DataKey,
    DnsLabel,
    DnsSubdomain,
    HostPath,
    Id,
    Image,
    Instant,
    MountPath,
    NodeLabels,
    Port,
    PortName,
    PortOrName,
    Quantity,
    Seconds,
    SubPath,
    Timeout,
    WorkingDir,
    at_most_in_all,
)

GROUP = "sandmount.dev"
VERSION = "v1alpha1"
KIND = "Sandbox"
PLURAL = "sandboxes"
API_VERSION = f"{GROUP}/{VERSION}"

LABEL_SANDBOX = f"{GROUP}/sandbox"
"""Label of every Pod we make, its value the Sandbox's name; the operator watches Pods by its presence."""
LABEL_SANDBOX_UID = f"{GROUP}/sandbox-uid"
ANNOTATION_BUILT_FROM = f"{GROUP}/built-from"

CONTAINER = "sandbox"
"""Name of the container that runs the image, in the Pods that we make."""

MAX_NAME = 63
"""A Sandbox's name is also a label value."""


class Model(BaseModel):
    """Base of everything in a spec: frozen, unknown fields refused; camelCase on the wire, snake_case in Python."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)

    def to_wire(self, without: AbstractSet[str] = frozenset()) -> dict[str, Any]:
        """The fields that differ from their defaults, with the names that Kubernetes uses."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(without))


class _OneOf(Model):
    """Exactly one of the fields named in ``sources`` is set."""

    @classmethod
    def sources(cls) -> Sequence[str]:
        raise NotImplementedError

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in self.sources() if getattr(self, name) is not None]
        if len(given) != 1:
            wanted = ", ".join(to_camel(name) for name in self.sources())
            found = " and ".join(to_camel(name) for name in given) or "none"
            raise ValueError(f"needs exactly one of {wanted}; found {found}")
        return self


class HostDirectory(Model):
    """A directory of the node, by its absolute path there; the allowlist decides whether it may be used."""

    path: HostPath


class ClaimReference(Model):
    """A PersistentVolumeClaim of the Sandbox's namespace."""

    claim_name: DnsSubdomain


class EmptyDirectory(Model):
    """A directory that lives as long as the Pod."""

    medium: Literal["", "Memory"] = ""
    size_limit: Quantity | None = None


class Volume(_OneOf):
    """One item of ``spec.volumes``: a source and where it is mounted."""

    name: DnsLabel
    mount_path: MountPath
    host: HostDirectory | None = None
    pvc: ClaimReference | None = None
    empty_dir: EmptyDirectory | None = None
    read_only: StrictBool = False
    sub_path: SubPath | None = None

    @classmethod
    def sources(cls) -> Sequence[str]:
        return ("host", "pvc", "empty_dir")


class KeySelector(Model):
    """A key of a Secret or ConfigMap."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=253)]
    key: DataKey
    optional: StrictBool | None = None


class FieldReference(Model):
    """A field of the Pod, as in the downward API."""

    field_path: Annotated[StrictStr, Field(min_length=1, max_length=512)]


class ResourceReference(Model):
    """A resource request or limit of the container, as in the downward API."""

    resource: Annotated[StrictStr, Field(min_length=1, max_length=512)]
    divisor: Quantity | None = None


class EnvSource(_OneOf):
    """Where the value of an environment variable comes from."""

    secret_key_ref: KeySelector | None = None
    config_map_key_ref: KeySelector | None = None
    field_ref: FieldReference | None = None
    resource_field_ref: ResourceReference | None = None

    @classmethod
    def sources(cls) -> Sequence[str]:
        return ("secret_key_ref", "config_map_key_ref", "field_ref", "resource_field_ref")


class EnvVar(Model):
    """One environment variable."""

    name: Annotated[StrictStr, Field(max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*\z")]
    value: Annotated[StrictStr, Field(max_length=4096)] | None = None
    value_from: EnvSource | None = None

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.value is not None and self.value_from is not None:
            raise ValueError("has both value and valueFrom; keep one of them")
        return self


def _values(variables: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
    at_most_in_all(v.value or "" for v in variables)
    return variables


class ContainerPort(Model):
    """A port that the container listens on; documentation, and a name for probes and Services."""

    name: PortName | None = None
    container_port: Port
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class Resources(Model):
    """Requests and limits, by resource name."""

    requests: Annotated[dict[StrictStr, Quantity], Field(max_length=16)] = {}
    limits: Annotated[dict[StrictStr, Quantity], Field(max_length=16)] = {}


class SecurityContext(Model):
    """User, groups and the root filesystem; everything else of a security context is fixed by the operator."""

    run_as_user: Id | None = None
    run_as_group: Id | None = None
    supplemental_groups: Annotated[tuple[Id, ...], Field(max_length=32)] = ()
    fs_group: Id | None = None
    run_as_non_root: StrictBool | None = None
    read_only_root_filesystem: StrictBool | None = None

    @model_validator(mode="after")
    def _root_or_not(self) -> Self:
        if self.run_as_non_root and self.run_as_user == 0:
            raise ValueError("runAsNonRoot is true and runAsUser is 0; write another user, or leave runAsNonRoot out")
        return self


class Toleration(Model):
    """A taint that the Pod tolerates. Those that lead to control planes or virtual nodes are refused."""

    key: Annotated[StrictStr, Field(min_length=1, max_length=317)]
    operator: Literal["Exists", "Equal"] = "Equal"
    value: Annotated[StrictStr, Field(max_length=63)] | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: StrictInt | None = None

    @field_validator("key")
    @classmethod
    def _ordinary_nodes_only(cls, key: str) -> str:
        roles = ("control-plane", "controlplane", "master", "etcd")
        reserved = [*(f"node-role.kubernetes.io/{role}" for role in roles), "CriticalAddonsOnly"]
        if key in reserved or key.startswith("virtual-kubelet.io/"):
            raise ValueError(f"{paths.quoted(key)} leads to nodes that Sandboxes may not use; remove this toleration")
        return key

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value; remove the value, or write operator: Equal")
        return self


class HttpGet(Model):
    """A request to the container; without a host, so that the kubelet asks nobody else."""

    path: Annotated[StrictStr, Field(max_length=1024)] | None = None
    port: PortOrName
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class TcpSocket(Model):
    """A connection to the container."""

    port: PortOrName


class ExecAction(Model):
    """A command in the container; exit code 0 is success."""

    command: Annotated[Arguments, Field(min_length=1)]


class Probe(_OneOf):
    """When the container counts as ready, as in a Pod. Times in seconds."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: ExecAction | None = None
    initial_delay_seconds: Annotated[StrictInt, Field(ge=0, le=3600)] | None = None
    period_seconds: Seconds | None = None
    timeout_seconds: Seconds | None = None
    success_threshold: Annotated[StrictInt, Field(ge=1, le=10)] | None = None
    failure_threshold: Annotated[StrictInt, Field(ge=1, le=100)] | None = None

    @classmethod
    def sources(cls) -> Sequence[str]:
        return ("http_get", "tcp_socket", "exec")


class SecretName(Model):
    """A Secret with the credentials of an image registry."""

    name: DnsSubdomain


class ExpiryPolicy(StrEnum):
    """What becomes of a Sandbox whose deadline has passed."""

    RETAIN = "Retain"  # its Pod goes, and it stays as a record
    DELETE = "Delete"


LIFECYCLE = frozenset({"timeout_seconds", "expires_at", "expiry_policy", "paused"})
"""Fields of a spec that no Pod is built from: a change of them never replaces one."""


class SandboxSpec(Model):
    """What a user asks for. Defaults are those of the schema, where a scalar, and of Kubernetes in lists."""

    image: Image
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: Annotated[tuple[SecretName, ...], Field(max_length=16)] = ()
    entrypoint: Arguments | None = None
    working_dir: WorkingDir | None = None
    env: Annotated[tuple[EnvVar, ...], Field(max_length=128), AfterValidator(_values)] = ()
    ports: Annotated[tuple[ContainerPort, ...], Field(max_length=32)] = ()
    resources: Resources = Resources()
    security_context: SecurityContext = SecurityContext()
    runtime_class_name: DnsSubdomain | None = None
    node_selector: NodeLabels = {}
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Annotated[StrictInt, Field(ge=0, le=300)] = 10
    readiness_probe: Probe | None = None
    timeout_seconds: Timeout | None = None
    expires_at: Instant | None = None
    expiry_policy: ExpiryPolicy = ExpiryPolicy.RETAIN
    paused: StrictBool = False
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32)] = ()

    @cached_property
    def digest(self) -> str:
        """What a Pod is built from, as far as it differs from the defaults: SHA-256 in hex."""
        wire = json.dumps(self.to_wire(without=LIFECYCLE), sort_keys=True)
        return hashlib.sha256(wire.encode()).hexdigest()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        lists = {
            "volumes": [v.name for v in self.volumes],
            "env": [e.name for e in self.env],
            "imagePullSecrets": [s.name for s in self.image_pull_secrets],
            "ports": [p.name for p in self.ports if p.name],
        }
        for field, names in lists.items():
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f'{field}: the name "{twice}" stands twice; rename one')
        return self

    @model_validator(mode="after")
    def _ports_are_unlike(self) -> Self:
        ports = [(p.container_port, p.protocol) for p in self.ports]
        if twice := next((port for port in ports if ports.count(port) > 1), None):
            raise ValueError(f"ports: {twice[0]}/{twice[1]} stands twice; remove one")
        return self

    @model_validator(mode="after")
    def _mounts_are_apart(self) -> Self:
        for inner in self.volumes:
            for outer in self.volumes:
                if inner is not outer and (problem := _nested(inner, outer)):
                    raise ValueError(problem)
        return self


def _nested(inner: Volume, outer: Volume) -> str | None:
    """Why two mounts cannot stand together, or None.

    A runtime makes and resolves the mount point of the inner one inside what the outer one mounts; in a directory that
    a tenant can write, that is a race with the tenant. An emptyDir is the Pod's own, so nobody else can be harmed.
    """
    if inner.mount_path == outer.mount_path:
        return f'volumes: "{inner.name}" and "{outer.name}" have the same mountPath "{inner.mount_path}"; change one'
    if outer.empty_dir is None and paths.is_within(inner.mount_path, outer.mount_path):
        return (
            f'volumes: mountPath "{inner.mount_path}" of "{inner.name}" lies inside "{outer.mount_path}" of '
            f'"{outer.name}"; mount them side by side'
        )
    return None


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """A spec that is no SandboxSpec, with the reasons, each naming its field."""

    problems: tuple[str, ...]


def parse_spec(raw: object) -> SandboxSpec | InvalidSpec:
    """The spec as a model, or what is wrong with it; the wire's names only, as the API server knows no others."""
    try:
        return SandboxSpec.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        return InvalidSpec(tuple(_problem(e["loc"], e["type"], e["msg"]) for e in error.errors(include_url=False)[:8]))


_WORDS = {
    "extra_forbidden": "is not a field that this version knows; remove it",
    "missing": "is required",
}


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    field = "spec"
    for part in location:
        field += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{field}: {_WORDS.get(kind) or message.removeprefix('Value error, ')}"
