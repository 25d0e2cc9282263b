"""The Pod network: a bridge of our own, its addresses, free ports, and rules that CNI plugins leave behind.

Only devices and rules that carry this cluster's name are changed.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import socket
import subprocess
import time
from typing import Any

from tests.cluster.base import ClusterError
from tests.cluster.local.layout import Layout
from tests.cluster.local.state import State

FIRST_SUBNET, LAST_SUBNET = 213, 253
# Below the range from which the kernel takes ports for outgoing connections: one of those could be taken at a restart.
WANTED_PORTS = {
    "etcd": 22379,
    "etcd-peer": 22380,
    "kube-controller-manager": 22257,
    "kube-scheduler": 22259,
    "kubelet-health": 22248,
}
PORT_STEP, PORT_TRIES = 100, 50
PORTMAP_CHAINS = ("CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK")


def run(*argv: str) -> str:
    """Run a system tool and return what it printed. Raises ClusterError when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")
    return done.stdout


def used_networks() -> list[ipaddress.IPv4Network]:
    """Networks that this machine has an address in or a route to, without the default route."""
    routes: list[dict[str, Any]] = json.loads(run("ip", "-4", "-json", "route", "show", "table", "all") or "[]")
    texts = [route["dst"] for route in routes if route.get("dst", "default") != "default"]
    return [ipaddress.IPv4Network(text, strict=False) for text in texts]


def pick_subnet(used: list[ipaddress.IPv4Network]) -> int:
    """The first 10.N.0.0/16 that overlaps with nothing in use."""
    for number in range(FIRST_SUBNET, LAST_SUBNET):
        candidate = ipaddress.IPv4Network(f"10.{number}.0.0/16")
        if not any(candidate.overlaps(network) for network in used):
            return number
    raise ClusterError(f"No free network between 10.{FIRST_SUBNET}.0.0/16 and 10.{LAST_SUBNET}.0.0/16 on this machine.")


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """True when a server could listen there; SO_REUSEADDR as Go's servers have it, or a closed connection blocks it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The address may not be there yet; a port of it is free exactly when no server listens on all addresses.
        probe.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def pick_ports(api_address: str, node_address: str) -> dict[str, int]:
    """A free port for every server."""
    ports = {name: pick_port(wanted) for name, wanted in WANTED_PORTS.items()}
    ports["kubelet"] = pick_port(10250, node_address)
    # Pods look for the API server at port 443 of its Service. Without it only clients in Pods fail.
    ports["kube-apiserver"] = 443 if is_free(443, api_address) else pick_port(26443, api_address)
    return ports


def pick_port(wanted: int, address: str = "127.0.0.1") -> int:
    """The wanted port, or the next one that is free at the same distance."""
    for number in range(PORT_TRIES):
        if is_free(port := wanted + number * PORT_STEP, address):
            return port
    raise ClusterError(f"No free port found from {wanted} on.")


def wait_until_free(port: int, address: str, seconds: float = 60.0) -> None:
    """Wait for a port: a killed API server keeps its own until its memory is given back."""
    deadline = time.monotonic() + seconds
    while not is_free(port, address):
        if time.monotonic() > deadline:
            raise ClusterError(f"Port {port} of {address} is in use by a process that this cluster did not start.")
        time.sleep(0.1)


def links() -> dict[str, dict[str, Any]]:
    """Network devices by name."""
    found: list[dict[str, Any]] = json.loads(run("ip", "-json", "address", "show"))
    return {link["ifname"]: link for link in found if "ifname" in link}


def has_bridge(layout: Layout, state: State) -> bool:
    """True when the bridge is there, up and has both addresses."""
    link = links().get(layout.bridge)
    addresses = {entry["local"] for entry in link.get("addr_info", [])} if link else set()
    return link is not None and "UP" in link["flags"] and {state.node_address, state.api_address} <= addresses


def create_bridge(layout: Layout, state: State) -> None:
    """Make the bridge, unless it is there."""
    if has_bridge(layout, state):
        return
    if layout.bridge not in links():
        run("ip", "link", "add", layout.bridge, "address", hardware_address(state.node_address), "type", "bridge")
    prefix = ipaddress.ip_network(state.pod_network).prefixlen
    run("ip", "address", "replace", f"{state.node_address}/{prefix}", "dev", layout.bridge)
    run("ip", "address", "replace", f"{state.api_address}/32", "dev", layout.bridge)
    run("ip", "link", "set", layout.bridge, "up")


def hardware_address(address: str) -> str:
    """One of its own for the bridge.

    Without, it has the lowest of its Pods' and another one as they come and go; for half a minute a Pod then cannot be
    reached, as it answers to the one before.
    """
    return ":".join(f"{part:02x}" for part in (0x0A, 0x58, *ipaddress.IPv4Address(address).packed))


def remove_bridge(layout: Layout) -> None:
    """Remove the bridge and the Pods' devices on it."""
    if shutil.which("ip") is None:
        return
    for name, link in links().items():
        if link.get("master") == layout.bridge:
            # One end of a pair; it may vanish with its Pod's namespace while we look.
            subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
    if layout.bridge in links():
        run("ip", "link", "delete", layout.bridge)


def cni_config(layout: Layout, state: State) -> dict[str, Any]:
    """How containerd connects a Pod. No masquerading: test Pods have no business outside of this machine."""
    return {
        "cniVersion": "0.4.0",
        "name": layout.network,
        "plugins": [
            {
                "type": "bridge",
                "bridge": layout.bridge,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.cni_data),
                    "ranges": [[{"subnet": state.pod_network, "gateway": state.node_address}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def nat_rules() -> list[str]:
    """The machine's nat table as `iptables-save` prints it; empty where there is no iptables."""
    if shutil.which("iptables-save") is None:
        return []
    return run("iptables-save", "-t", "nat").splitlines()


def has_portmap_chains(rules: list[str]) -> bool:
    """True when some CNI on this machine has used host ports."""
    return any(rule.startswith(f":{PORTMAP_CHAINS[0]} ") for rule in rules)


def rules_of(network: str, rules: list[str]) -> list[str]:
    """The rules that portmap made for Pods of the named network; their comment names it."""
    comment = re.compile(r'--comment "[^"]*name: \\"' + re.escape(network) + r'\\"')
    return [rule for rule in rules if rule.startswith("-A ") and comment.search(rule)]


def remove_rules(layout: Layout, state: State) -> None:
    """Remove what portmap left: killed Pods are not disconnected one by one."""
    rules = rules_of(layout.network, nat_rules())
    for rule in rules:
        delete_rule(rule)
        if target := re.search(r"-j (CNI-DN-\w+)", rule):
            subprocess.run(["iptables", "-t", "nat", "-F", target.group(1)], capture_output=True, check=False)
            subprocess.run(["iptables", "-t", "nat", "-X", target.group(1)], capture_output=True, check=False)
    left = nat_rules()
    in_use = any(rule.startswith(f"-A {PORTMAP_CHAINS[0]} ") for rule in left)
    if has_portmap_chains(left) and not state.had_portmap_chains and not in_use:
        remove_portmap_chains(left)


def remove_portmap_chains(rules: list[str]) -> None:
    """Remove the empty chains and what leads into them."""
    for rule in rules:
        jump = re.search(r"-j (\S+)", rule)
        if rule.startswith("-A ") and jump and jump.group(1) in PORTMAP_CHAINS:
            delete_rule(rule)
    for action in ("-F", "-X"):
        for chain in PORTMAP_CHAINS:
            subprocess.run(["iptables", "-t", "nat", action, chain], capture_output=True, check=False)


def delete_rule(rule: str) -> None:
    """Delete one rule of the nat table, given as `iptables-save` printed it."""
    restore = f"*nat\n-D {rule.removeprefix('-A ')}\nCOMMIT\n"
    subprocess.run(["iptables-restore", "--noflush"], input=restore, capture_output=True, text=True, check=False)
