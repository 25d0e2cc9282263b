"""Whatever a user writes, the Pod keeps Pod Security's "restricted" rules, but for hostPath and the user id."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandmount.allowlist import Grant
from sandmount.api import Model, SandboxSpec, parse_spec
from sandmount.pod import build_pod
from tests.unit.builders import NAME, NAMESPACE, UID, roots

Json = dict[str, Any]


def mapping(required: Json, optional: Json | None = None) -> st.SearchStrategy[Json]:
    make: Any = st.fixed_dictionaries  # its overloads know no mapping of different strategies
    found: st.SearchStrategy[Json] = make(required, optional=optional)
    return found


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
labels = st.text("abcdefgh01", min_size=1, max_size=8)
absolute = st.lists(labels, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
commands = st.lists(words, max_size=3)
switches = st.booleans()
quantities = st.sampled_from([0, 1, "100m", "1Gi", "1.5", "1e3"])
ids = st.integers(0, 2**31 - 1)

references = st.one_of(
    mapping({"secretKeyRef": mapping({"name": labels, "key": words})}),
    mapping({"configMapKeyRef": mapping({"name": labels, "key": words})}),
    mapping({"fieldRef": mapping({"fieldPath": words})}),
)
variables = st.one_of(
    mapping({"name": st.sampled_from("ABCDEF"), "value": st.text(max_size=20)}),
    mapping({"name": st.sampled_from("GHIJKL"), "valueFrom": references}),
)
sources = st.one_of(
    mapping({"host": mapping({"path": absolute.map(lambda p: "/data" + p)})}),
    mapping({"pvc": mapping({"claimName": labels})}),
    mapping({"emptyDir": mapping({}, optional={"medium": st.sampled_from(["", "Memory"])})}),
)
volumes: st.SearchStrategy[Json] = st.builds(
    lambda named, source, more: named | source | more,
    labels.map(lambda name: {"name": name, "mountPath": f"/mnt/{name}"}),
    sources,
    mapping({}, optional={"readOnly": switches, "subPath": absolute.map(lambda p: p[1:])}),
)
specs = mapping(
    {"image": words},
    optional={
        "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
        "imagePullSecrets": st.lists(mapping({"name": labels}), max_size=2, unique_by=lambda s: s["name"]),
        "entrypoint": st.none() | commands,
        "workingDir": absolute.map(lambda p: "/w" + p),
        "env": st.lists(variables, max_size=3, unique_by=lambda v: str(v["name"])),
        "ports": st.lists(
            mapping({"containerPort": st.integers(1, 65535)}), max_size=2, unique_by=lambda p: p["containerPort"]
        ),
        "resources": mapping({}, optional={"limits": st.dictionaries(labels, quantities, max_size=2)}),
        "securityContext": mapping(
            {},
            optional={
                "runAsUser": ids,
                "runAsGroup": ids,
                "supplementalGroups": st.lists(ids, max_size=3),
                "fsGroup": ids,
                "runAsNonRoot": st.just(False),
                "readOnlyRootFilesystem": switches,
            },
        ),
        "runtimeClassName": labels,
        "nodeSelector": st.dictionaries(words, words, max_size=2),
        "tolerations": st.lists(mapping({"key": words}), max_size=2),
        "restartPolicy": st.sampled_from(["Always", "OnFailure", "Never"]),
        "terminationGracePeriodSeconds": st.integers(0, 300),
        "readinessProbe": mapping({"exec": mapping({"command": st.lists(words, min_size=1, max_size=3)})}),
        "volumes": st.lists(volumes, max_size=4, unique_by=lambda v: str(v["name"])),
    },
)


def everything_in(value: object) -> Iterator[tuple[str, object]]:
    """Each key of a nested value, with what stands there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from everything_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything_in(inner)


FORBIDDEN = {
    "privileged",
    "procMount",
    "add",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "hostUsers",
    "hostPort",
    "hostIP",
    "hostProcess",
    "windowsOptions",
    "seLinuxOptions",
    "appArmorProfile",
    "sysctls",
    "serviceAccountName",
    "serviceAccount",
    "subPathExpr",
    "mountPropagation",
    "volumeDevices",
    "initContainers",
    "ephemeralContainers",
    "lifecycle",
    "envFrom",
    "nodeName",
    "schedulerName",
    "priorityClassName",
    "shareProcessNamespace",
    "hostAliases",
    "dnsConfig",
    "projected",
    "secret",
    "csi",
    "livenessProbe",
    "startupProbe",
    "overhead",
    "host",
    "args",
}


@given(specs)
def test_no_spec_gives_a_pod_beyond_the_restricted_rules(raw: Json) -> None:
    spec = parse_spec(raw)
    assert isinstance(spec, SandboxSpec), spec
    found = [d for v in spec.volumes if (d := roots("/data").decide(NAMESPACE, v)) is not None]
    grants = [g for g in found if isinstance(g, Grant)]
    body = build_pod(NAMESPACE, NAME, UID, spec, grants)
    pod = body["spec"]
    (container,) = pod["containers"]

    assert set(body) == {"apiVersion", "kind", "metadata", "spec"}
    without_names = {**pod, "nodeSelector": {}, "containers": [{**container, "resources": {}}]}
    assert not FORBIDDEN & {key for key, _ in everything_in(without_names)}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert set(pod["securityContext"]) <= {"seccompProfile", "supplementalGroups", "fsGroup"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(container["securityContext"]) <= {
        "allowPrivilegeEscalation", "capabilities", "runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem"
    }  # fmt: skip
    granted = {g.volume: g.root for g in grants}
    for volume in pod["volumes"]:
        (kind,) = set(volume) - {"name"}
        assert kind in ("hostPath", "persistentVolumeClaim", "emptyDir")
        if kind == "hostPath":
            assert volume["hostPath"] == {"path": granted.pop(volume["name"]), "type": "Directory"}
    assert granted == {}
    for mount in container["volumeMounts"]:
        assert set(mount) <= {"name", "mountPath", "subPath", "readOnly", "recursiveReadOnly"}
        assert ("recursiveReadOnly" in mount) is mount.get("readOnly", False)


def models(of: type[Model]) -> Iterator[type[Model]]:
    for model in of.__subclasses__():
        yield model
        yield from models(model)


def test_no_model_of_a_spec_has_a_field_by_which_a_pod_could_get_more() -> None:
    known = {name for model in models(Model) for f in model.model_fields.values() if (name := f.alias)}
    assert "mountPath" in known
    assert not known & (FORBIDDEN - {"host"})
    assert all(model.model_config["extra"] == "forbid" and model.model_config["frozen"] for model in models(Model))
