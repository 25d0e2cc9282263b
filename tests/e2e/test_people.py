"""The roles for people: what each lets its user do, tried as that user, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.attack.api_bad_specs import bad_specs
from tests.attack.api_support import host_mounts
from tests.cluster.kubectl import SANDBOXES
from tests.e2e.webhook import fed
from tests.support import Json, Kube, wait_until
from tests.support.fixtures import Sandboxes, host_volume


@pytest.fixture(params=["sandmount-editor", "sandmount-viewer"])
def role(request: pytest.FixtureRequest) -> str:
    """One of the two."""
    return str(request.param)


@pytest.fixture
def user(role: str, sandboxes: Sandboxes, kube: Kube) -> str:
    """kubectl's option to be a user who has only this role, in only this namespace."""
    name = f"{role}-{sandboxes.namespace}"
    where = ("-n", sandboxes.namespace)
    kube.run("create", "rolebinding", role, f"--clusterrole={role}", f"--user={name}", *where)
    ask = ("auth", "can-i", "list", SANDBOXES, *where, f"--as={name}")
    wait_until("the user has the role", lambda: kube.try_run(*ask).returncode == 0, 10)
    return f"--as={name}"


def forbidden(kube: Kube, *args: str, item: Json | None = None) -> bool:
    """Whether the API server says that this user may not; ``item`` is given to kubectl as a file."""
    done = fed(kube, item, *args) if item else kube.try_run(*args)
    return done.returncode != 0 and "forbidden" in done.stderr.lower()


def may_not(kube: Kube, verb: str, what: str, *args: str) -> bool:
    """Whether the API server answers no; kubectl's own commands ask for the Pod first, and come no further."""
    return kube.try_run("auth", "can-i", verb, what, *args).stdout.strip() == "no"


def refused_to_all(kube: Kube, sandboxes: Sandboxes, user: str) -> dict[str, bool]:
    """What neither role gives: anything of Pods, the status, other namespaces, the allowlist, the roles."""
    where = ("-n", sandboxes.namespace)
    pod: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "own", "namespace": sandboxes.namespace},
        "spec": {"containers": [{"name": "c", "image": "busybox:stable"}]},
    }
    status = ("--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Running"}}')
    tries: dict[str, Callable[[], bool]] = {
        "create a Pod": lambda: forbidden(kube, "create", user, item=pod),
        "see Pods": lambda: forbidden(kube, "get", "pods", *where, user),
        "exec": lambda: may_not(kube, "create", "pods/exec", *where, user),
        "attach": lambda: may_not(kube, "create", "pods/attach", *where, user),
        "forward a port": lambda: may_not(kube, "create", "pods/portforward", *where, user),
        "add a container": lambda: may_not(kube, "patch", "pods/ephemeralcontainers", *where, user),
        "read the log": lambda: may_not(kube, "get", "pods/log", *where, user),
        "delete the Pod": lambda: forbidden(kube, "delete", "pod", "there", *where, user),
        "write the status": lambda: forbidden(kube, "patch", "sbx", "there", *where, user, *status),
        "see Sandboxes elsewhere": lambda: forbidden(kube, "get", "sbx", "--all-namespaces", user),
        "read the list": lambda: forbidden(kube, "get", "cm", "sandmount-host-paths", "-n", "sandmount-system", user),
        "bind the role": lambda: forbidden(
            kube, "create", "rolebinding", "more", "--clusterrole=sandmount-operator", "--user=x", *where, user
        ),
    }
    return {what: attempt() for what, attempt in tries.items()}


def test_a_role_gives_sandboxes_and_nothing_else(
    role: str, user: str, sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    sandboxes.apply("there", host_volume(shared))
    sandboxes.wait_ready("there")
    refused = refused_to_all(kube, sandboxes, user)
    assert refused == dict.fromkeys(refused, True)

    where = ("-n", sandboxes.namespace, user)
    assert kube.run("get", "sbx", "there", *where, "-o", "jsonpath={.status.phase}") == "Running"
    assert "Name:" in kube.run("describe", "sbx", "there", *where)
    own = sandboxes.manifest("own", host_volume(shared))
    if role == "sandmount-viewer":
        assert forbidden(kube, "apply", user, item=own)
        assert forbidden(kube, "delete", "sbx", "there", *where)
        return
    assert fed(kube, own, "apply", user).returncode == 0
    sandboxes.wait_ready("own")
    kube.run("patch", "sbx", "own", *where, "--type=merge", "-p", '{"spec":{"paused":true}}')
    kube.run("delete", "sbx", "own", *where, seconds=60)


def test_no_field_lets_an_editor_reach_what_is_not_allowed(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    """Each spec that must never become a Pod as it is, by a user who has the shipped role and nothing else."""
    name = f"editor-{sandboxes.namespace}"
    where = ("-n", sandboxes.namespace)
    kube.run("create", "rolebinding", "editor", "--clusterrole=sandmount-editor", f"--user={name}", *where)
    wait_until(
        "the user has the role",
        lambda: kube.try_run("auth", "can-i", "create", SANDBOXES, *where, f"--as={name}").returncode == 0,
        10,
    )
    specs = [(bad, spec) for bad, spec, _ in bad_specs(str(shared))]
    taken = []
    for bad, spec in specs:
        item = sandboxes.manifest(bad) | {"spec": spec}
        if fed(kube, item, "create", f"--as={name}", "--validate=false").returncode == 0:
            taken.append(bad)
    assert len(specs) - len(taken) > 100
    for bad in taken:  # a field that there is not is dropped, and what is left may run
        wait_until(f"{bad} is refused or runs", partial(decided, sandboxes, bad), 60)
    for pod in kube.items("pods", "-n", sandboxes.namespace):
        spec = pod["spec"]
        assert not spec.get("volumes") or {path for path, _, _ in host_mounts(pod)} <= {str(shared)}, spec
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & spec.keys(), spec
        [container] = spec["containers"]
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]} and "privileged" not in context, spec
        assert spec["automountServiceAccountToken"] is False and context["allowPrivilegeEscalation"] is False, spec


def decided(sandboxes: Sandboxes, name: str) -> bool:
    """Whether the operator has refused it, or made its Pod."""
    stuck = sandboxes.kube.condition(name, sandboxes.namespace, "Stalled")
    return stuck is not None or sandboxes.pod(name) is not None


def test_edit_and_view_have_nothing_of_sandboxes(kube: Kube) -> None:
    for name in ("edit", "view", "admin"):
        rules = kube.get("clusterrole", name)["rules"]
        assert not [r for r in rules if "sandmount.dev" in r.get("apiGroups", ())]
