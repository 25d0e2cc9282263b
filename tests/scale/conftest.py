"""One cluster with simulated nodes, an operator and its fleet, for all tests of a module.

It is a cluster of its own, as no other test could bear thousands of Sandboxes beside it, and two operators would meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster import choose
from tests.cluster.local.cluster import LocalCluster
from tests.conftest import spare_cluster
from tests.scale.fleet import Fleet
from tests.support import OperatorProcess
from tests.support.audit import AuditLog

Recorder = Callable[[str, object], None]
"""pytest's record_property: a name and a figure, printed at the end of the run."""

NODES = 10


@pytest.fixture(scope="module")
def spare() -> Iterator[LocalCluster]:
    """A local cluster that nobody else uses."""
    first = choose()
    if not isinstance(first, LocalCluster):
        pytest.skip(f"simulated nodes need the local cluster; the one in use is {first.name!r}")
    first.prepare()
    with spare_cluster(first) as spare:
        yield spare


@pytest.fixture(scope="module")
def fleet(spare: LocalCluster) -> Iterator[Fleet]:
    """All Sandboxes, as the first list wants them."""
    with spare.simulate_nodes(NODES), OperatorProcess(spare) as operator:
        found = Fleet(spare, operator)
        found.make()
        yield found


@pytest.fixture
def audit(spare: LocalCluster) -> AuditLog:
    """What is asked of the API server from now on."""
    return AuditLog.of(spare)
