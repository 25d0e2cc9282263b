"""What was decided when the cluster was first started: addresses, ports, and what the machine was like before.

Saved before anything outside of the run folder is touched, so that `down` always knows what to put back.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster.base import ClusterError
from tests.cluster.local.files import write_atomically


@dataclass(frozen=True)
class State:
    """All addresses derive from one /16 of private address space."""

    boot: str
    subnet: int
    ports: Mapping[str, int]
    sysctls: Mapping[str, str] = field(default_factory=dict)
    absent_folders: tuple[str, ...] = ()
    had_portmap_chains: bool = False

    @property
    def pod_network(self) -> str:
        """Addresses of Pods, and of the bridge."""
        return f"10.{self.subnet}.0.0/17"

    @property
    def service_network(self) -> str:
        """Addresses of Services."""
        return f"10.{self.subnet}.128.0/20"

    @property
    def node_address(self) -> str:
        """The bridge's address: the node's, and the Pods' gateway."""
        return f"10.{self.subnet}.0.1"

    @property
    def api_address(self) -> str:
        """The address of the Service `kubernetes`, by which Pods find the API server.

        The API server itself listens there, on the bridge: so Pods reach it without a kube-proxy, which would write
        into the machine's packet filter, and nobody outside of this machine does.
        """
        return str(ipaddress.ip_network(self.service_network)[1])

    @property
    def api_url(self) -> str:
        """Where the API server is."""
        port = self.ports["kube-apiserver"]
        return f"https://{self.api_address}" + ("" if port == 443 else f":{port}")

    def save(self, path: Path) -> None:
        """Write it."""
        write_atomically(path, json.dumps(asdict(self), indent=1))


def load(path: Path) -> State | None:
    """Read it; None when there is none. Raises ClusterError when it is broken: guessing would leave things behind."""
    try:
        fields = json.loads(path.read_text())
        return State(**{**fields, "absent_folders": tuple(fields["absent_folders"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(f"{path} cannot be read ({error}). Did another version of these tools write it?") from error
