"""etcd, API server, controller manager and scheduler: their options and configuration files, as data.

Fast and forgetful on purpose (etcd does not wait for the disk): for tests only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.audit import AUDIT_MEGABYTES, AUDIT_POLICY
from tests.cluster.local import certs
from tests.cluster.local.component import Component, flags
from tests.cluster.local.files import write_atomically
from tests.cluster.local.layout import Layout
from tests.cluster.local.state import State

KUBECONFIGS = ("kube-controller-manager", "kube-scheduler", "kubelet")


def scheduler_config(kubeconfig: Path) -> dict[str, Any]:
    """The scheduler's configuration: no leader election, no client-side throttling."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 500, "burst": 1000},
    }


def write_configs(layout: Layout, state: State, admission: str) -> None:
    """Write what the options below refer to; ``admission`` only when it is not empty."""
    layout.config.mkdir(exist_ok=True, mode=0o700)
    layout.audit_log.parent.mkdir(exist_ok=True, mode=0o700)
    write_atomically(layout.kubeconfig, certs.kubeconfig(layout.pki, "admin", state.api_url))
    for name in KUBECONFIGS:
        write_atomically(layout.config / f"{name}.kubeconfig", certs.kubeconfig(layout.pki, name, state.api_url))
    scheduler = scheduler_config(layout.config / "kube-scheduler.kubeconfig")
    write_atomically(layout.config / "kube-scheduler.yaml", yaml.safe_dump(scheduler))
    write_atomically(layout.config / "audit-policy.yaml", yaml.safe_dump(AUDIT_POLICY))
    if admission:
        write_atomically(_admission_file(layout), admission)


def _admission_file(layout: Layout) -> Path:
    return layout.config / "admission.yaml"


def etcd(layout: Layout, state: State, program: Path) -> Component:
    """etcd, on loopback, for holders of a certificate only: whoever can write to it owns the machine."""
    client, peer = (f"https://127.0.0.1:{state.ports[name]}" for name in ("etcd", "etcd-peer"))
    pair = {"cert-file": layout.pki / "etcd.crt", "key-file": layout.pki / "etcd.key"}
    trust = {"trusted-ca-file": layout.pki / "ca.crt", "client-cert-auth": True}
    options = {
        "name": "sandmount",
        "data-dir": layout.run / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"sandmount={peer}",
        "unsafe-no-fsync": True,
        "quota-backend-bytes": 4 * 1024**3,
        **pair,
        **trust,
        **{f"peer-{name}": value for name, value in (pair | trust).items()},
    }
    return Component(
        name="etcd",
        argv=flags(program, options),
        answers=lambda api: api.is_ok("127.0.0.1", state.ports["etcd"], "/health"),
        ports=(("127.0.0.1", state.ports["etcd"]), ("127.0.0.1", state.ports["etcd-peer"])),
    )


def apiserver(layout: Layout, state: State, program: Path) -> Component:
    """The API server, on the address that its own Service has."""
    pki = layout.pki
    options = {
        "etcd-servers": f"https://127.0.0.1:{state.ports['etcd']}",
        "etcd-cafile": pki / "ca.crt",
        "etcd-certfile": pki / "etcd-client.crt",
        "etcd-keyfile": pki / "etcd-client.key",
        "bind-address": state.api_address,
        "advertise-address": state.api_address,
        "secure-port": state.ports["kube-apiserver"],
        "tls-cert-file": pki / "kube-apiserver.crt",
        "tls-private-key-file": pki / "kube-apiserver.key",
        "cert-dir": layout.run / "apiserver",
        "client-ca-file": pki / "ca.crt",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": True,
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "service-cluster-ip-range": state.service_network,
        # Webhooks behind a Service are called at the Pod's address: there is no kube-proxy here.
        "enable-aggregator-routing": True,
        "kubelet-client-certificate": pki / "kube-apiserver-kubelet.crt",
        "kubelet-client-key": pki / "kube-apiserver-kubelet.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "audit-policy-file": layout.config / "audit-policy.yaml",
        "audit-log-path": layout.audit_log,
        "audit-log-mode": "blocking",
        "audit-log-maxsize": AUDIT_MEGABYTES,
        "shutdown-delay-duration": "0s",
    }
    if _admission_file(layout).exists():
        options["admission-control-config-file"] = _admission_file(layout)
    port = state.ports["kube-apiserver"]
    return Component(
        name="kube-apiserver",
        argv=flags(program, options),
        answers=lambda api: api.is_ok(state.api_address, port, "/readyz"),
        ports=((state.api_address, port),),
    )


def serving(layout: Layout, name: str, port: int) -> dict[str, object]:
    """What controller manager and scheduler have in common: how they serve their health and whom they believe."""
    own = layout.config / f"{name}.kubeconfig"
    return {
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "tls-cert-file": layout.pki / f"{name}.crt",
        "tls-private-key-file": layout.pki / f"{name}.key",
        "client-ca-file": layout.pki / "ca.crt",
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        # Looking these up at every start would tie the start to an API server that may be starting itself.
        "authentication-skip-lookup": True,
    }


def controller_manager(layout: Layout, state: State, program: Path) -> Component:
    """All the usual controllers."""
    name = "kube-controller-manager"
    port = state.ports[name]
    options = {
        **serving(layout, name, port),
        "kubeconfig": layout.config / f"{name}.kubeconfig",
        "leader-elect": False,
        "use-service-account-credentials": True,
        "service-account-private-key-file": layout.pki / "sa.key",
        "root-ca-file": layout.pki / "ca.crt",
        "cluster-signing-cert-file": layout.pki / "ca.crt",
        "cluster-signing-key-file": layout.pki / "ca.key",
        "kube-api-qps": 200,
        "kube-api-burst": 400,
    }
    return Component(
        name=name,
        argv=flags(program, options),
        answers=lambda api: api.is_ok("127.0.0.1", port, "/healthz"),
        ports=(("127.0.0.1", port),),
    )


def scheduler(layout: Layout, state: State, program: Path) -> Component:
    """The scheduler."""
    name = "kube-scheduler"
    port = state.ports[name]
    options = {**serving(layout, name, port), "config": layout.config / f"{name}.yaml"}
    return Component(
        name=name,
        argv=flags(program, options),
        answers=lambda api: api.is_ok("127.0.0.1", port, "/healthz"),
        ports=(("127.0.0.1", port),),
    )


def components(layout: Layout, state: State, programs: Mapping[str, Path]) -> list[Component]:
    """The control plane, in the order in which it starts."""
    return [
        etcd(layout, state, programs["etcd"]),
        apiserver(layout, state, programs["kube-apiserver"]),
        controller_manager(layout, state, programs["kube-controller-manager"]),
        scheduler(layout, state, programs["kube-scheduler"]),
    ]
