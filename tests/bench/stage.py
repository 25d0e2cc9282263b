"""What a measurement needs: a cluster with simulated nodes, whom it is about, and a window in which all is counted."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import bodies
from tests.bench.bodies import AGENT_SANDBOXES, PODS, SANDBOXES, Item, Kind
from tests.bench.figures import BASELINE, CURRENT, FLOOR, PEER, Measured
from tests.bench.generator import Generator
from tests.bench.peer.agent_sandbox import AgentSandbox
from tests.bench.usage import all_busy_seconds, cpu_seconds, last_busy, memory_mib, reset_peak
from tests.cluster import ClusterError, choose
from tests.cluster.local.cluster import LocalCluster
from tests.conftest import spare_cluster
from tests.scale.conftest import NODES
from tests.scale.fleet import FIRST_LIST, NAMESPACES
from tests.support import OperatorProcess
from tests.support.audit import AuditLog, Request
from tests.support.kubectl import tail

WARM = 20
"""Objects that are created and deleted before what is measured: connections and imports are paid for then."""
SERVER = ("kube-apiserver", "etcd")
PATIENCE = 120.0
CALM_SHARE = 0.3
"""Share of one processor below which the control plane counts as having nothing left to do."""
OWNED = "sandmount.dev/sandbox"
"""Label of a Sandbox's Pod."""


@dataclass(frozen=True)
class Subject:
    """Whom a measurement is about. ``operator`` is None for bare Pods."""

    whose: str
    kind: Kind
    operator: OperatorProcess | None

    @property
    def pid(self) -> int | None:
        """The operator's process; None for bare Pods. Raises ClusterError when it has ended."""
        if self.operator is None:
            return None
        if self.operator.pid is None:
            raise ClusterError("\n".join(["The operator has ended.", *tail(self.operator.log)]))
        return self.operator.pid

    def items(self, count: int, tag: str) -> list[Item]:
        """So many of what it is about."""
        tag = f"{self.whose}-{tag}"
        if self.kind is AGENT_SANDBOXES:
            return bodies.agent_sandboxes(count, self.whose, tag)
        return (bodies.pods if self.kind is PODS else bodies.sandboxes)(count, self.whose, tag)


@dataclass(frozen=True)
class Stage:
    """A cluster of one's own, the generator, and the subjects in the order in which they take turns."""

    cluster: LocalCluster
    generator: Generator
    subjects: tuple[Subject, ...]
    peer: Subject | None
    """Somebody else's operator, which takes turns where that is asked for."""
    pids: dict[str, int]
    """The cluster's processes by name."""

    @property
    def operators(self) -> tuple[Subject, ...]:
        """The subjects that have an operator."""
        return tuple(s for s in self.subjects if s.operator is not None)

    @property
    def everybody(self) -> tuple[Subject, ...]:
        """The subjects, and the peer if there is one."""
        return (*self.subjects, self.peer) if self.peer else self.subjects

    @asynccontextmanager
    async def running(self, subject: Subject, *, warm: bool = True) -> AsyncIterator[None]:
        """Its operator runs, just started; and all that is slower the first time was done once."""
        if subject.operator is None:
            await self.calm()
            yield
            return
        try:
            await asyncio.to_thread(subject.operator.start)
            await asyncio.to_thread(subject.operator.wait_until_working, PATIENCE)
            if warm:
                await self.warm_up(subject)
            await self.calm()
            yield
        finally:
            await asyncio.to_thread(subject.operator.stop)

    async def warm_up(self, subject: Subject) -> None:
        """Create a few, and delete them."""
        items = subject.items(WARM, "warm")
        async with asyncio.timeout(PATIENCE), self.generator.watching(subject.kind, subject.whose) as seen:
            await self.generator.create(items)
            await seen.until_ready(item.key for item in items)
        await self.remove(subject, items)

    async def remove(self, subject: Subject, items: list[Item]) -> float:
        """Delete these, and return when they and their Pods were gone, by time.monotonic."""
        keys = [item.key for item in items]
        alone = subject.kind is not SANDBOXES  # of a peer's Pods nobody waits for the end
        own = self.generator.watching(subject.kind, subject.whose)
        theirs = self.generator.watching_label(PODS, OWNED)
        async with asyncio.timeout(patience(len(items))), own as objects, theirs as owned:
            await self.generator.delete(items)
            await objects.until_gone(keys)
            if alone:
                return max(objects.gone[key] for key in keys)
            await owned.until_gone(keys)
            return max(max(objects.gone[key], owned.gone[key]) for key in keys)

    async def calm(self) -> None:
        """Wait until the control plane has done what there was to do, or PATIENCE is at its end."""
        deadline = time.monotonic() + PATIENCE
        used = self._control_plane_seconds()
        while time.monotonic() < deadline:
            await asyncio.sleep(1)
            after = self._control_plane_seconds()
            if after - used < CALM_SHARE:
                return
            used = after

    def _control_plane_seconds(self) -> float:
        return sum(cpu_seconds(pid) for name, pid in self.pids.items() if name.startswith("kube-"))


class Window:
    """From now on everything that is used and asked for counts."""

    def __init__(self, stage: Stage, subject: Subject) -> None:
        self._stage, self._pid = stage, subject.pid
        self._user = subject.operator.user if subject.operator else ""
        self._audit = AuditLog.of(stage.cluster)
        if self._pid is not None:
            reset_peak(self._pid)
        self._begun = time.monotonic()
        self._before = self._used()
        self._generator_share: float | None = None

    def created(self) -> None:
        """The generator's part ends here: its share of a processor is counted up to now."""
        used = self._used()["generator"] - self._before["generator"]
        self._generator_share = used / (time.monotonic() - self._begun)

    async def close(self, objects: int) -> Measured:
        """Wait until the operator has nothing left to do, and count; `objects` is how many all was done for."""
        if self._pid is None:
            await asyncio.sleep(1)
        else:
            await last_busy(self._pid, PATIENCE)
        return self.measured(objects)

    def measured(self, objects: int) -> Measured:
        """What was used until now; per object if there are any."""
        seconds = time.monotonic() - self._begun
        after = self._used()
        used = {name: after[name] - before for name, before in self._before.items()}
        known = sum(of_one for name, of_one in used.items() if name != "all")
        server = sum(used[name] for name in SERVER)
        figures: dict[str, float] = {}
        requests: list[Request] = []
        if self._pid is not None:
            requests = self._audit.requests(self._user)
            writes = sum(r.is_write for r in requests)
            figures["cpu s"] = used["operator"]
            figures["cpu share"] = used["operator"] / seconds
            if objects:
                figures["cpu ms/object"] = 1000 * used["operator"] / objects
                figures["writes/object"] = writes / objects
            figures["writes"], figures["reads"] = writes, len(requests) - writes
            figures["rss MiB"] = memory_mib(self._pid, "VmRSS")
            figures["peak MiB"] = memory_mib(self._pid, "VmHWM")
        if objects:
            figures["server ms/object"] = 1000 * server / objects
        if self._generator_share is not None:
            figures["generator share"] = self._generator_share
        figures["others share"] = max(0.0, used["all"] - known) / seconds
        return Measured(figures, dict(Counter(f"{r.verb} {r.what} {r.code}" for r in requests)))

    def _used(self) -> dict[str, float]:
        """Processor time until now, by process."""
        found = {name: cpu_seconds(pid) for name, pid in self._stage.pids.items()}
        found["generator"] = cpu_seconds_of_us()
        if self._pid is not None:
            found["operator"] = cpu_seconds(self._pid)
        return found | {"all": all_busy_seconds()}


def cpu_seconds_of_us() -> float:
    """Processor time of this process; unlike its tree's, without the operator that it started."""
    return time.process_time()


def patience(count: int) -> float:
    """Seconds that so many objects may take at most."""
    return PATIENCE + count / 4


@contextmanager
def simulated_cluster() -> Iterator[LocalCluster]:
    """A local cluster that nobody else uses, with simulated nodes and the namespaces of the fleet."""
    first = choose()
    if not isinstance(first, LocalCluster):
        raise ClusterError(
            f"The benchmark needs the local cluster (SANDMOUNT_CLUSTER=local); this one is {first.name!r}."
        )
    first.prepare()
    with spare_cluster(first) as spare:
        # Never left: the whole cluster goes at once, which is faster than to remove thousands of Pods from it.
        nodes = spare.simulate_nodes(NODES)
        nodes.__enter__()
        yield spare


@asynccontextmanager
async def staged(cluster: LocalCluster, baseline: Path | None, peer: AgentSandbox | None) -> AsyncIterator[Stage]:
    """Everything installed, and no operator running. ``baseline`` is the folder of another build's package."""
    other = [(BASELINE, {"PYTHONPATH": str(baseline)})] if baseline else []
    operators = [(whose, OperatorProcess(cluster, settings)) for whose, settings in [(CURRENT, {}), *other]]
    try:
        first = operators[0][1]
        first.install()
        first.kube.set_allowlist(FIRST_LIST)
        for namespace in NAMESPACES:
            first.kube.make_namespace(namespace)
        subjects = [Subject(FLOOR, PODS, None), *(Subject(whose, SANDBOXES, o) for whose, o in operators)]
        async with Generator(cluster.kubeconfig) as generator:
            other_one = Subject(PEER, AGENT_SANDBOXES, peer) if peer else None
            if peer:
                await asyncio.to_thread(peer.install_peer)
            yield Stage(cluster, generator, tuple(subjects), other_one, cluster.status().pids)
    finally:
        for operator in (*(o for _, o in operators), *((peer,) if peer else ())):
            operator.close()


def described() -> dict[str, object]:
    """The machine, as far as it matters to the figures."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    kernel = os.uname().release
    python = f"{platform.python_version()} of {sys.base_prefix}"  # builds of one version differ by a sixth
    return {"processor": model, "cores": os.cpu_count(), "memory MiB": memory, "kernel": kernel, "python": python}
