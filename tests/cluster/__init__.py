"""A real Kubernetes cluster for tests and for the demo, whatever this machine can offer.

`choose` picks one; every choice has the interface `Cluster`. Nothing here may know Sandmount's own code: these modules
are about Kubernetes only, and must work when the operator does not.
"""

from tests.cluster.base import Cluster, ClusterError, ComponentStatus, Status
from tests.cluster.choose import choose

__all__ = ["Cluster", "ClusterError", "ComponentStatus", "Status", "choose"]
