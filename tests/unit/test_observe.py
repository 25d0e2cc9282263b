"""parse_sandbox and parse_pod: the facts that decisions are made of, from JSON as the API server sends it."""

from typing import Any

import pytest

from sandmount.api import InvalidSpec, Volume
from sandmount.observe import LONGEST_MOUNT, Pod, parse_pod, parse_sandbox
from sandmount.pod import build_pod, built_from
from sandmount.trouble import Trouble
from tests.unit.builders import KEY, NAME, NAMESPACE, POD_UID, STAMP, UID, host, pod, raw_sandbox, roots, spec

Json = dict[str, Any]
READY = {"type": "Ready", "status": "True", "lastTransitionTime": STAMP}


def container(name: str = "sandbox", **fields: Any) -> Json:
    return {"name": name, "image": "ubuntu", "ready": False, "restartCount": 0, "state": {}, "lastState": {}, **fields}


def raw_pod(status: Json | None = None, metadata: Json | None = None, **fields: Any) -> Json:
    """What the API server answers to the creation of our Pod, with a status of the kubelet's."""
    wanted = spec(volumes=[host()]) if fields.pop("mounts", False) else spec()
    grants = [g for v in wanted.volumes if (g := roots("/data").decide(NAMESPACE, v))]
    body = build_pod(NAMESPACE, NAME, UID, wanted, grants)  # type: ignore[arg-type]
    body["metadata"] |= {"uid": POD_UID, "resourceVersion": "20", "creationTimestamp": STAMP} | (metadata or {})
    body["spec"] |= {"nodeName": "node-1", "schedulerName": "default-scheduler"} | fields
    body["status"] = {"phase": "Pending", "qosClass": "BestEffort"} if status is None else status
    return body


def running(**fields: Any) -> Json:
    return {
        "phase": "Running",
        "podIP": "10.0.0.7",
        "conditions": [{"type": "PodScheduled", "status": "True"}, READY],
        "containerStatuses": [container(ready=True, state={"running": {"startedAt": STAMP}})],
        **fields,
    }


def waiting(reason: str, message: str = "", **fields: Any) -> Json:
    stuck = container(state={"waiting": {"reason": reason, "message": message}}, **fields)
    return {"phase": "Pending", "containerStatuses": [stuck]}


def test_a_ready_pod_of_ours_is_read_whole() -> None:
    assert parse_pod(raw_pod(running())) == pod()


def test_a_pod_that_was_just_created_is_pending_and_has_not_started() -> None:
    for status in ({}, {"phase": "Pending"}):
        found = parse_pod(raw_pod(status, nodeName=""))
        assert found == pod(phase="Pending", ready=False, ready_since=None, started=False, pod_ip="", node_name="")


def test_a_pod_without_status_labels_annotations_or_owner_is_read() -> None:
    bare = {"metadata": {"namespace": NAMESPACE, "name": NAME, "uid": "x", "resourceVersion": "1"}}
    found = parse_pod(bare)
    assert found.key == KEY
    assert (found.owner_uid, found.owner, found.made_for, found.built_from) == (None, "nobody", None, "")
    assert not found.labelled
    assert not found.owned_by_namesake
    assert not found.started
    assert found.phase == "Pending"


@pytest.mark.parametrize("labels", [{}, None, {"sandmount.dev/sandbox": "another"}])
def test_our_label_counts_only_when_it_names_the_pod_itself(labels: Json | None) -> None:
    assert not parse_pod(raw_pod(metadata={"labels": labels})).labelled
    assert parse_pod(raw_pod()).labelled


def owner(kind: str, name: str, **fields: Any) -> Json:
    return {
        "apiVersion": "sandmount.dev/v1alpha1",
        "kind": kind,
        "name": name,
        "uid": "u",
        "controller": True,
        **fields,
    }


@pytest.mark.parametrize(
    ("owners", "uid", "words", "namesake"),
    [
        ([], None, "nobody", False),
        ([owner("ReplicaSet", "web-1", apiVersion="apps/v1")], "u", "ReplicaSet web-1", False),
        ([owner("Sandbox", NAME)], "u", f"Sandbox {NAME}", True),
        ([owner("Sandbox", "another")], "u", "Sandbox another", False),
        ([owner("Sandbox", NAME, apiVersion="example.com/v1")], "u", f"Sandbox {NAME}", False),
        ([owner("Sandbox", NAME, controller=False)], None, "nobody", False),
        ([owner("Job", "a", controller=False), owner("Sandbox", NAME)], "u", f"Sandbox {NAME}", True),
    ],
)
def test_the_owner_is_the_controller(owners: list[Json], uid: str | None, words: str, namesake: bool) -> None:
    found = parse_pod(raw_pod(metadata={"ownerReferences": owners}))
    assert (found.owner_uid, found.owner, found.owned_by_namesake) == (uid, words, namesake)


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (running(), None),
        (waiting("ContainerCreating"), Trouble("ContainerCreating", "")),
        (waiting("ImagePullBackOff", "Back-off pulling image"), Trouble("ImagePullBackOff", "Back-off pulling image")),
        (
            waiting("CreateContainerConfigError", "failed to prepare subPath"),
            Trouble("CreateContainerConfigError", "failed to prepare subPath"),
        ),
        (waiting(""), Trouble("ContainerWaiting", "")),
        (
            {"containerStatuses": [container(state={"terminated": {"exitCode": 3, "reason": "Error"}})]},
            Trouble("Error", "the container ended with exit code 3"),
        ),
        (
            {"containerStatuses": [container(state={"terminated": {"exitCode": 137, "message": "out of memory"}})]},
            Trouble("ContainerEnded", "the container ended with exit code 137: out of memory"),
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            Trouble("Evicted", "The node was low on resource: memory."),
        ),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError"}, Trouble("UnexpectedAdmissionError", "")),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available",
                    }
                ]
            },
            Trouble("Unschedulable", "0/3 nodes are available"),
        ),
        ({"conditions": [{"type": "PodScheduled", "status": "False"}]}, Trouble("PodNotScheduled", "")),
        (
            {
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready"}
                ]
            },
            Trouble("ContainersNotReady", "unready"),
        ),
        ({"conditions": [{"type": "Ready", "status": "False"}]}, None),
        ({"conditions": None, "containerStatuses": None}, None),
    ],
)
def test_the_most_telling_reason_that_the_status_gives_is_kept(status: Json, trouble: Trouble | None) -> None:
    assert parse_pod(raw_pod(status)).trouble == trouble


@pytest.mark.parametrize(
    ("fields", "started"),
    [
        ({}, False),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, False),
        ({"state": {"running": {}}}, True),
        ({"state": {"terminated": {"exitCode": 0}}}, True),
        ({"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}}, True),
        ({"state": {"waiting": {}}, "restartCount": 1}, True),
    ],
)
def test_a_container_that_ever_ran_has_started(fields: Json, started: bool) -> None:
    assert parse_pod(raw_pod({"containerStatuses": [container(**fields)]})).started is started


@pytest.mark.parametrize("injected", ["a-proxy", "istio-proxy", "zz"])
def test_a_container_that_admission_added_is_not_taken_for_ours(injected: str) -> None:
    proxy = container(injected, state={"waiting": {"reason": "ImagePullBackOff"}})
    ours = container(state={"running": {}})
    for statuses in ([proxy, ours], [ours, proxy]):
        found = parse_pod(raw_pod({"containerStatuses": statuses}))
        assert found.started
        assert found.trouble is None
    assert not parse_pod(raw_pod({"containerStatuses": [container(injected, restartCount=2)]})).started


def test_deletion_is_seen_by_its_timestamp() -> None:
    assert parse_pod(raw_pod(metadata={"deletionTimestamp": STAMP})).deleting


def test_the_kubelets_word_on_recursive_read_only_is_kept_by_mount_path() -> None:
    mounts = [{"name": "a", "mountPath": "/a", "recursiveReadOnly": "Disabled"}, {"name": "b", "mountPath": "/b"}]
    found = parse_pod(raw_pod({"containerStatuses": [container(volumeMounts=mounts)]}))
    assert found.recursive_read_only == {"/a": "Disabled"}


def test_what_a_pod_has_of_the_host_is_judged_like_the_volumes_that_asked_for_it() -> None:
    found: Pod = parse_pod(raw_pod(running(), mounts=True))
    (mounted,) = found.host_mounts
    assert (mounted.name, mounted.mount_path, mounted.sub_path, mounted.read_only) == (
        "data",
        "/mnt/data",
        "shared",
        False,
    )
    assert roots("/data").decide(NAMESPACE, mounted) == roots("/data").decide(
        NAMESPACE, spec(volumes=[host()]).volumes[0]
    )
    assert parse_pod(raw_pod(running())).host_mounts == ()


def test_a_sandbox_is_read_with_its_stored_status() -> None:
    found = parse_sandbox(raw_sandbox({"phase": "Running"}, {"generation": 7}, volumes=[host()]))
    assert (found.key, found.uid, found.resource_version, found.generation) == (KEY, UID, "10", 7)
    assert found.spec == spec(volumes=[host()])
    assert found.status == {"phase": "Running"}
    assert not found.deleting
    assert not found.held


@pytest.mark.parametrize("missing", ["status", "spec"])
def test_a_sandbox_without_status_or_spec_is_read(missing: str) -> None:
    raw = raw_sandbox()
    del raw[missing]
    found = parse_sandbox(raw)
    assert isinstance(found.spec, InvalidSpec) is (missing == "spec")
    assert found.status == ({} if missing == "status" else {"observedGeneration": -1})


@pytest.mark.parametrize(("length", "valid"), [(63, True), (64, False)])
def test_a_name_that_is_no_label_value_makes_the_sandbox_invalid(length: int, valid: bool) -> None:
    found = parse_sandbox(raw_sandbox(metadata={"name": "a" * length})).spec
    assert isinstance(found, InvalidSpec) is not valid
    if isinstance(found, InvalidSpec):
        assert found.problems == ("metadata.name: has 64 characters; at most 63",)


@pytest.mark.parametrize(
    ("finalizers", "held"),
    [([], False), (["foregroundDeletion"], False), (["orphan"], False), (["example.com/keep"], True)],
)
def test_a_finalizer_of_somebodys_holds_a_sandbox_back(finalizers: list[str], held: bool) -> None:
    found = parse_sandbox(raw_sandbox(metadata={"deletionTimestamp": STAMP, "finalizers": finalizers}))
    assert found.deleting
    assert found.held is held


def test_the_annotation_says_what_the_pod_was_built_from() -> None:
    assert parse_pod(raw_pod()).built_from == built_from(spec(), ())


def test_mounts_of_all_pods_that_are_the_same_are_kept_once_but_for_long_ones() -> None:
    def mounts(path: str) -> tuple[Volume, ...]:
        volume = {"name": "data", "hostPath": {"path": "/data"}}
        mounted = {"name": "sandbox", "volumeMounts": [{"name": "data", "mountPath": path}]}
        return parse_pod(raw_pod(volumes=[volume], containers=[mounted])).host_mounts

    short, long = "/" + "x" * (LONGEST_MOUNT - 7), "/" + "x" * LONGEST_MOUNT
    for path, once in ((short, True), (long, False)):
        assert mounts(path) == mounts(path)
        assert (mounts(path)[0] is mounts(path)[0]) is once
        assert mounts(path)[0].mount_path == path


def test_the_host_mounts_of_every_container_count_and_what_nothing_mounts_counts_as_a_whole() -> None:
    volumes = [{"name": n, "hostPath": {"path": f"/{n}"}} for n in ("a", "b", "c", "d")] + [
        {"name": "e", "emptyDir": {}}
    ]

    def with_mounts(name: str, *mounts: Json) -> Json:
        return {"name": name, "volumeMounts": [{"mountPath": "/m", **m} for m in mounts]}

    found = parse_pod(
        raw_pod(
            volumes=volumes,
            containers=[
                with_mounts("sandbox", {"name": "a", "subPath": "x"}, {"name": "e"}),
                with_mounts("other", {"name": "b", "readOnly": True}),
            ],
            initContainers=[with_mounts("first", {"name": "a"})],
            ephemeralContainers=[with_mounts("debug", {"name": "c", "subPathExpr": "$(X)"})],
        )
    )
    assert {(v.name, v.host.path, v.sub_path, v.read_only) for v in found.host_mounts if v.host} == {
        ("a", "/a", "x", False),
        ("b", "/b", None, True),
        ("a", "/a", None, False),
        ("c", "/c", "$(X)", False),
        ("d", "/d", None, False),
    }


@pytest.mark.parametrize("status", ["text", 5, [], {"conditions": "x"}, {"conditions": [{}]}, {"conditions": [5]}])
def test_a_stored_status_of_a_wrong_shape_is_read_without_what_is_wrong(status: object) -> None:
    assert "conditions" not in parse_sandbox(raw_sandbox() | {"status": status}).status
    wrong = {"type": "Ready", "status": "True", "reason": "R", "message": "m"}
    kept = parse_sandbox(raw_sandbox({"phase": "Running", "conditions": [wrong]})).status
    assert kept == {"phase": "Running"}
