"""Runs the operator after a demo with KEEP=1, for as long as the demo's namespace is there.

Started by run.py, not by people. It ends when the namespace is deleted or the cluster is taken down, and then removes
the operator's credentials and the demo's temporary directories; so nothing has to be remembered or ended by hand.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from keep import WORKS

from tests.cluster import Cluster, ClusterError, choose
from tests.support import Kube, OperatorProcess

LOOK_SECONDS = 3.0
SILENCE_SECONDS = 120.0


def main() -> int:
    """Keep it running."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _end)
    cluster = choose()
    try:
        with OperatorProcess(cluster) as operator:
            print(WORKS, operator.log, flush=True)
            _wait_for_the_end(cluster, arguments.namespace, arguments.uid)
    finally:
        for path in arguments.remove:
            _remove(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument(
        "--uid", required=True, help="the namespace's; one of the same name that is made later is not it"
    )
    parser.add_argument(
        "--remove", type=Path, action="append", default=[], help="a folder or link to remove at the end"
    )
    return parser


def _wait_for_the_end(cluster: Cluster, namespace: str, uid: str) -> None:
    """Return when the namespace is gone, the cluster is down, or the API server is silent for long."""
    last = time.monotonic()
    while cluster.kubeconfig.exists() and time.monotonic() - last < SILENCE_SECONDS:
        try:
            found = Kube.of(cluster).find("namespace", namespace)
        except ClusterError:
            found = None
        else:
            last = time.monotonic()
            if found is None or found["metadata"]["uid"] != uid:
                return
        time.sleep(LOOK_SECONDS)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
