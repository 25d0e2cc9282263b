"""A real Prometheus from Debian's packages that scrapes an operator, and what our dashboard asks it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import ClusterError
from tests.cluster.choose import cache_folder
from tests.support.installation import MANIFESTS
from tests.support.kubectl import Json
from tests.support.ports import LOCAL, free_port

RULES = MANIFESTS / "monitoring" / "prometheusrule.yaml"
DASHBOARD = MANIFESTS / "grafana" / "sandmount.json"


def programs() -> Path:
    """The folder with prometheus and promtool, unpacked and not installed, so that no service starts."""
    if there := shutil.which("prometheus"):
        return Path(there).parent
    target = cache_folder(os.environ) / "bin" / "prometheus"
    if not (target / "usr" / "bin" / "promtool").exists():
        target.mkdir(parents=True, exist_ok=True)
        for argv in (["apt-get", "update"], ["apt-get", "download", "prometheus"]):
            done = subprocess.run(argv, cwd=target, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ClusterError(f"prometheus cannot be had: {done.stderr[-500:]}")
        [package] = target.glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=target, check=True)
    return target / "usr" / "bin"


def rule_file(folder: Path) -> Path:
    """The rules as Prometheus reads them, written into the folder."""
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    return path


@contextmanager
def prometheus(port: int, folder: Path, every: str = "1s") -> Iterator[str]:
    """One that scrapes an operator at that port of this machine; its address. All that it writes is in the folder."""
    own = free_port()
    config = {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [str(rule_file(folder))],
        "scrape_configs": [
            {"job_name": "sandmount", "honor_labels": True, "static_configs": [{"targets": [f"{LOCAL}:{port}"]}]}
        ],
    }
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    argv = [
        str(programs() / "prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOCAL}:{own}",
    ]
    with (folder / "log").open("wb") as log:
        environ = {**os.environ, "GOMAXPROCS": "1"}
        running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        try:
            yield f"http://{LOCAL}:{own}"
        finally:
            running.terminate()
            running.wait(20)


def ask(base: str, path: str, **parameters: str) -> Json:
    """An answer of Prometheus'; one without data while it cannot answer."""
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
            found: Json = json.load(answer)
            return found
    except OSError:
        return {"data": {}}


def results(base: str, path: str, **parameters: str) -> list[Json]:
    """The series of an answer."""
    return list(ask(base, path, **parameters)["data"].get("result", ()))


def panels(rate_over: str) -> list[Json]:
    """Those of the dashboard, from top to bottom, with the time over which Grafana would take rates written in."""
    found: list[Json] = json.loads(DASHBOARD.read_text().replace("$__rate_interval", rate_over))["panels"]
    return sorted(found, key=lambda p: (p["gridPos"]["y"], p["gridPos"]["x"]))


def legend(target: Json, labels: dict[str, Any]) -> str:
    """What Grafana calls a series."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda m: str(labels.get(m[1], "")), target["legendFormat"])
