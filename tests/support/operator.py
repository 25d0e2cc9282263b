"""The operator as a process on this machine, with the rights of its ServiceAccount and nothing more.

Its credentials are a token in a file that only we can read, in a folder that goes when the operator is closed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.cluster import Cluster, ClusterError
from tests.support.installation import REPOSITORY, SERVICE_ACCOUNT, Before, install
from tests.support.kubectl import OPERATOR_NAMESPACE, Json, Kube, tail, wait_until

WORKING_SECONDS = 60.0
STOP_SECONDS = 20.0
TOKEN_LIFETIME = "24h"  # noqa: S105 - a time, not a token


class OperatorProcess:
    """One operator. As a context manager: installed, started and working inside, stopped outside."""

    namespace, account = OPERATOR_NAMESPACE, SERVICE_ACCOUNT
    working = "all Sandboxes and Pods are known"
    """What it logs when it has begun to work."""
    defaults: ClassVar[Mapping[str, str]] = {"SANDMOUNT_EMPTY_ALLOWLIST": "allow", "SANDMOUNT_LOG_FORMAT": "text"}
    """Settings that differ between the ways to run it."""
    at_work: ClassVar[list[OperatorProcess]] = []
    """Those of this process that run."""

    def __init__(self, cluster: Cluster, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are environment variables of `sandmount run`, such as SANDMOUNT_ON_REVOKE."""
        self.kube = Kube.of(cluster)
        self.settings = dict(settings or {})
        self.folder = Path(tempfile.mkdtemp(prefix="sandmount-operator-"))
        self.log = self.folder / "operator.log"
        self.kubeconfig = self.folder / "kubeconfig"
        self.before: Before | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def user(self) -> str:
        """Whom the API server sees."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process is not None else None

    def install(self) -> Before:
        """Put the CRD and the manifests into the cluster. Returns what was there the first time this was called."""
        found = install(self.kube)
        self.before = self.before or found
        return self.before

    def start(self) -> None:
        """Start it with a new token. Its log is continued."""
        if self.pid is not None:
            raise ClusterError(f"the operator runs already, as process {self.pid}")
        self._write_kubeconfig()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is for whoever started it, who then stops it
            )
        self.at_work.append(self)

    def command(self) -> Sequence[str]:
        """What runs."""
        return sys.executable, "-m", "sandmount", "run"

    def wait_until_working(self, seconds: float = WORKING_SECONDS) -> None:
        """Return when it has read all that exists. Raises ClusterError when it ends before, or takes too long."""

        def works() -> bool:
            if self.pid is None:
                raise ClusterError(f"The operator ended at once.\n{self._last_words()}")
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                return self.working.encode() in log.read()

        wait_until("the operator has begun to work", works, seconds, self._last_words)

    def exchange_credentials(self) -> None:
        """End its token by making its ServiceAccount anew, and put a new one where it reads it. It is not told."""
        self.kube.delete("serviceaccount", SERVICE_ACCOUNT, OPERATOR_NAMESPACE)
        self.install()
        self._write_kubeconfig()

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._gone()

    def _gone(self) -> None:
        self._process = None
        self.at_work[:] = [operator for operator in self.at_work if operator is not self]

    def kill(self) -> None:
        """End it without warning, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._gone()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside, it is dead; afterwards it works."""
        self.kill()
        try:
            yield
        finally:
            self.start()
            self.wait_until_working()

    @contextmanager
    def running_with(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Inside, it works with these settings beside its own; afterwards as before, whatever was set meanwhile."""
        before = dict(self.settings)
        try:
            with self.away():
                self.settings |= settings
            yield
        finally:
            self.kill()
            self.settings = before
            self.start()
            self.wait_until_working()

    @contextmanager
    def with_at_least(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Inside, it has these settings; nothing is done where it has them already."""
        if settings.items() <= {**self.defaults, **self.settings}.items():
            yield
        else:
            with self.running_with(settings):
                yield

    @contextmanager
    def without_policy(self) -> Iterator[None]:
        """Inside, the policy about Pods of Sandboxes (manifests/policy) is not in force; here it never is."""
        yield

    def close(self) -> None:
        """Stop it, and remove its credentials and its log."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.install()
            self.start()
            self.wait_until_working()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        """Ours without what would change the operator's settings or lead it to another cluster."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SANDMOUNT_", "KUBE"))}
        own = {"KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(REPOSITORY / "operator"), "PYTHONUNBUFFERED": "1"}
        return kept | own | self.settings

    def _write_kubeconfig(self) -> None:
        text = json.dumps(self._token_kubeconfig())
        descriptor = os.open(self.kubeconfig, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def _token_kubeconfig(self) -> Json:
        """The cluster's address and CA from the administrator's kubeconfig, and a token of the ServiceAccount."""
        config: Json = json.loads(self.kube.run("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        argv = ("create", "token", self.account, "-n", self.namespace, f"--duration={TOKEN_LIFETIME}")
        token = self.kube.run(*argv).strip()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": config["clusters"],
            "users": [{"name": self.account, "user": {"token": token}}],
            "contexts": [
                {"name": "operator", "context": {"cluster": config["clusters"][0]["name"], "user": self.account}}
            ],
            "current-context": "operator",
        }

    def _last_words(self) -> str:
        return "\n".join(f"  operator: {line}" for line in tail(self.log))
