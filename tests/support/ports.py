"""Ports of this machine."""

import socket

LOCAL = "127.0.0.1"


def free_port() -> int:
    """A port of LOCAL that nobody listens on."""
    with socket.socket() as found:
        found.bind((LOCAL, 0))
        return int(found.getsockname()[1])
