"""Command line for the cluster: `python -m tests.cluster up|down|status|reset|kubeconfig|load-image`.

Only reads arguments and prints; the work is in the clusters.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.cluster import Cluster, ClusterError, choose

INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m tests.cluster", description="A Kubernetes cluster for tests and demo."
    )
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what is not running")
    up.add_argument("--host-dir", type=Path, action="append", default=[], help="a directory that Pods will mount")
    commands.add_parser("down", help="stop it, and leave nothing but the cache of binaries")
    commands.add_parser("status", help="show its parts; the exit code is 0 when all run")
    commands.add_parser("reset", help="delete what tests left in it")
    commands.add_parser("kubeconfig", help="print the path of its kubeconfig")
    commands.add_parser("kubectl", help="print the path of a kubectl for it")
    load = commands.add_parser("load-image", help="bring an image archive to its node")
    load.add_argument("archive", type=Path)
    return top


def show_status(cluster: Cluster) -> int:
    """Print one line per part. Returns the exit code."""
    status = cluster.status()
    if not status.components:
        print(f"{cluster.name}: not up")
    for part in status.components:
        pid = "" if part.pid is None else str(part.pid)
        print(f"{part.name:26}{'running' if part.running else 'DOWN':9}{pid:>8}  {part.detail}".rstrip())
    return 0 if status.is_up else 1


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say. Returns the exit code."""
    cluster = choose()
    match arguments.command:
        case "up":
            cluster.up(arguments.host_dir)
        case "down":
            cluster.down()
        case "status":
            return show_status(cluster)
        case "reset":
            cluster.reset()
        case "kubeconfig":
            print(cluster.kubeconfig)
        case "kubectl":
            print(cluster.kubectl)
        case "load-image":
            cluster.load_image(arguments.archive)
    return 0


def main() -> int:
    """Run, and turn errors that are meant for people into one message."""
    try:
        return run(parser().parse_args())
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. `up` continues where this stopped; `down` removes it.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
