"""The local cluster as a whole: up, down, status, and faults on demand.

Every step of `up` looks first and then does what is missing, so an interrupted one, a crash of anything and a reboot
are all mended by running it again. `down` works from the same records, and from the tag that all our processes carry.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from tests.cluster.base import ClusterError, ComponentStatus, Status, make_host_dirs, say, wait_for
from tests.cluster.image import build_archives
from tests.cluster.kubectl import Kubectl, reset_cluster
from tests.cluster.local import (
    build,
    certs,
    cgroups,
    containerd,
    control_plane,
    kubelet,
    kwok,
    machine,
    mounts,
    network,
)
from tests.cluster.local import state as states
from tests.cluster.local.api import Client
from tests.cluster.local.component import Component
from tests.cluster.local.files import locked
from tests.cluster.local.layout import NODE_NAME, Layout
from tests.cluster.local.processes import boot_id, end_all, tagged
from tests.cluster.local.state import State
from tests.cluster.local.supervisor import Supervisor

READY_SECONDS = 120.0


class LocalCluster:
    """One node on this machine, without Docker."""

    name = "local"

    def __init__(self, cache: Path, admission: str = "") -> None:
        """``admission`` is an AdmissionConfiguration for the API server, as YAML."""
        self.layout = Layout(cache)
        self._admission = admission

    @property
    def kubeconfig(self) -> Path:
        """The administrator's credentials."""
        return self.layout.kubeconfig

    @property
    def kubectl(self) -> Path:
        """The kubectl that was built with the cluster."""
        return self._programs["kubectl"]

    @property
    def audit_log(self) -> Path | None:
        """Written before a request is answered."""
        return self.layout.audit_log

    @cached_property
    def _programs(self) -> dict[str, Path]:
        return {name: binary.path(self.layout.bin) for name, binary in build.binaries().items()}

    def up(self, host_dirs: Sequence[Path] = ()) -> None:
        """Start what is not running. The node is this machine, so its directories are all there for Pods."""
        check_platform()
        make_host_dirs(host_dirs)
        self.layout.check()
        self.prepare()
        with locked(self.layout.starting), locked(self.layout.lock):
            begun = time.monotonic()
            if self._start(self._state()):
                say(f"The local cluster is up ({time.monotonic() - begun:.1f} s): {self.kubeconfig}")

    def prepare(self) -> None:
        """Install and build what is missing, and start nothing."""
        with locked(self.layout.lock):
            machine.install_missing()
            build.build_missing(build.always_needed(), self.layout.bin, self.layout.tools)

    def down(self) -> None:
        """Stop everything and remove all traces but the cache of binaries."""
        check_platform()
        with locked(self.layout.lock):
            state = states.load(self.layout.state)
            # All of ours at once, so that nobody restarts anybody; containers live on without their shims.
            end_all(tagged(self.layout.run))
            cgroups.remove(self.layout.cgroup)
            # Once more: a shim may have been starting while the others were ended.
            end_all(tagged(self.layout.run))
            network.remove_bridge(self.layout)
            mounts.unmount_below(self.layout.run)
            if state is not None:
                network.remove_rules(self.layout, state)
                machine.put_back(self.layout, state)
            if self.layout.shim_sockets.parent != self.layout.run:
                mounts.remove_folder(self.layout.shim_sockets)
            mounts.remove_folder(self.layout.run)
            say("The local cluster is down.")

    def status(self) -> Status:
        """Processes, whether they answer, the bridge, and the node."""
        state = states.load(self.layout.state)
        if state is None or not self.kubeconfig.exists():
            return Status(self.name, ())
        supervisor = self._supervisor(state)
        found = [supervisor.status(component) for component in self._components(state)]
        has_bridge = network.has_bridge(self.layout, state)
        found.append(ComponentStatus("network", has_bridge, detail=self.layout.bridge))
        found.append(ComponentStatus("node", supervisor.client.node_is_ready(), detail=NODE_NAME))
        return Status(self.name, tuple(found))

    def load_image(self, archive: Path) -> None:
        """Import an archive into containerd."""
        containerd.import_image(self.layout, self._programs["ctr"], archive)

    def reset(self) -> None:
        """Delete what tests and Sandmount left."""
        self._end_simulation()
        reset_cluster(Kubectl(self.kubectl, self.kubeconfig), is_ours=True)

    def compact_etcd(self) -> int:
        """Compact etcd to its current revision."""
        return Client(self.layout.pki, self._existing_state()).compact_etcd()

    def restart(self, component: str) -> None:
        """Kill a component and start it again. Raises ClusterError for a name that is none."""
        state = self._existing_state()
        named = {item.name: item for item in self._components(state)}
        if component not in named:
            raise ClusterError(f"There is no component {component!r}; there are: {', '.join(named)}.")
        with locked(self.layout.lock):
            supervisor = self._supervisor(state)
            supervisor.stop(named[component])
            supervisor.start(named[component])
            # Behind a restarted etcd the API server needs a moment; behind anything else it answers already.
            apiserver = named["kube-apiserver"]
            supervisor.wait([named[component], *([apiserver] if supervisor.running(apiserver) else [])])

    @contextmanager
    def simulate_nodes(self, count: int) -> Iterator[tuple[str, ...]]:
        """Nodes that kwok plays. What an earlier run left of its own goes first."""
        state = self._existing_state()
        with locked(self.layout.lock):
            kwok.prepare(self.layout)
        self._end_simulation()
        try:
            kwok.write_config(self.layout)
            names = kwok.create_nodes(self.layout, Kubectl(self.kubectl, self.kubeconfig), count)
            supervisor, player = self._supervisor(state), kwok.component(self.layout, self._programs["kwok"])
            with locked(self.layout.lock):
                supervisor.start(player)
                supervisor.wait([player])
            yield names
        finally:
            self._end_simulation()

    def _end_simulation(self) -> None:
        """Remove simulated nodes, the Pods on them and the process that plays them, if there is any of that."""
        if not kwok.is_wanted(self.layout):
            return
        with locked(self.layout.lock):
            self._supervisor(self._existing_state()).stop(kwok.component(self.layout, self._programs["kwok"]))
            kwok.remove_nodes(Kubectl(self.kubectl, self.kubeconfig))
            kwok.config(self.layout).unlink()

    def _existing_state(self) -> State:
        state = states.load(self.layout.state)
        if state is None:
            raise ClusterError("The local cluster is not up.")
        return state

    def _state(self) -> State:
        """What was decided at the first start, or is decided now. Nothing outside of `run` was touched before."""
        state = states.load(self.layout.state)
        if state is not None:
            return state if state.boot == boot_id() else self._after_reboot(state)
        machine.refuse_second_kubelet()
        if tagged(self.layout.run):
            raise ClusterError(
                f"Processes of {self.layout.run} run, but its state.json is gone: run down, then up again."
            )
        self.layout.run.mkdir(parents=True, mode=0o711, exist_ok=True)
        subnet = network.pick_subnet(network.used_networks())
        addresses = State(boot_id(), subnet, {})
        state = State(
            boot=boot_id(),
            subnet=subnet,
            ports=network.pick_ports(addresses.api_address, addresses.node_address),
            **machine.observe(self.layout, boot_id()),
        )
        state.save(self.layout.state)
        if state.ports["kube-apiserver"] != 443:
            say("Port 443 is in use on all addresses: clients in Pods will not find the API server by its Service.")
        return state

    def _after_reboot(self, state: State) -> State:
        """Forget what lived in memory only: to containerd it would look like running containers."""
        say("The machine was restarted since; keeping the cluster's objects, starting its processes.")
        mounts.unmount_below(self.layout.run)
        mounts.remove_folder(self.layout.containerd_state)
        mounts.remove_folder(self.layout.cni_data)
        # Folders that it made before the reboot are still its own to remove; kernel settings began anew.
        state = replace(state, boot=boot_id(), sysctls=machine.observe(self.layout, boot_id())["sysctls"])
        state.save(self.layout.state)
        return state

    def _start(self, state: State) -> bool:
        """Start what is missing and wait until Pods can run. True when anything had to be done."""
        self._prepare(state)
        supervisor = self._supervisor(state)
        etcd, apiserver, *others = self._components(state)
        runtime = next(component for component in others if component.name == "containerd")
        if self.status().is_up:
            return False
        say("Starting the local cluster")
        # containerd needs nobody, and is ready by the time the API server is.
        for first in (etcd, runtime):
            supervisor.start(first)
        supervisor.wait([etcd])
        supervisor.start(apiserver)
        supervisor.wait([runtime])
        self._import_images()
        supervisor.wait([apiserver])
        for component in others:
            supervisor.start(component)
        supervisor.wait([etcd, apiserver, *others])
        kubelet_log = self.layout.logs / "kubelet.log"
        wait_for("The node to be Ready", supervisor.client.node_is_ready, READY_SECONDS, hint=f"See {kubelet_log}.")
        wait_for("The default ServiceAccount", supervisor.client.has_default_account, READY_SECONDS)
        return True

    def _prepare(self, state: State) -> None:
        """Everything that processes need to find: the bridge, the cgroup, certificates, configuration."""
        for folder in (self.layout.logs, self.layout.pids):
            folder.mkdir(exist_ok=True, mode=0o700)
        network.create_bridge(self.layout, state)
        cgroups.create(self.layout.cgroup)
        certs.ensure(self.layout.pki, state.api_address, state.node_address)
        control_plane.write_configs(self.layout, state, self._admission)
        containerd.write_configs(self.layout, state, self._programs)
        kubelet.write_configs(self.layout, state)

    def _import_images(self) -> None:
        """Give containerd the pause image and busybox, unless it has them."""
        busybox = machine.find_busybox()
        if busybox is None:
            raise ClusterError("A static busybox is needed (Debian: busybox-static).")
        archives = build_archives(busybox, self.layout.run / "images")
        if not containerd.has_images(self.layout, self._programs["ctr"], set(archives)):
            for archive in archives.values():
                self.load_image(archive)

    def _supervisor(self, state: State) -> Supervisor:
        return Supervisor(self.layout, Client(self.layout.pki, state))

    def _components(self, state: State) -> list[Component]:
        return [
            *control_plane.components(self.layout, state, self._programs),
            containerd.component(self.layout, self._programs),
            kubelet.component(self.layout, state, self._programs),
            *([kwok.component(self.layout, self._programs["kwok"])] if kwok.is_wanted(self.layout) else []),
        ]


def check_platform() -> None:
    """Raise ClusterError where the local cluster cannot run."""
    if sys.platform != "linux":
        raise ClusterError("The local cluster needs Linux.")
    if os.geteuid() != 0:
        raise ClusterError("The local cluster needs root.")
