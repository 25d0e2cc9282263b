"""API clients with the credentials of this Pod or of KUBECONFIG, which may be exchanged while the process runs."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from kubernetes.aio import client, config

from sandmount import __version__

log = logging.getLogger(__name__)

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

LONGEST_LINE = 2**24
"""Bytes of a watch event. An object has 1.5 MiB at most, which JSON can make six times as long."""


class NoClusterError(Exception):
    """There is no cluster to connect to; the message is for a person."""


class Session:
    """An API client with the credentials of one reading.

    Closed when it was given up and no request uses it any more: a client that is closed under a request ends it with
    errors of many kinds.
    """

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client
        self._users = 0
        self._given_up = False

    @asynccontextmanager
    async def used(self) -> AsyncIterator[client.ApiClient]:
        """The client, open inside."""
        self._users += 1
        try:
            yield self._client
        finally:
            self._users -= 1
            await self._close_when_unused()

    async def give_up(self) -> None:
        """No further request will use it."""
        self._given_up = True
        await self._close_when_unused()

    async def close(self) -> None:
        """Closes it, whoever uses it."""
        await self._client.close()

    async def _close_when_unused(self) -> None:
        if self._given_up and not self._users:
            await self._client.close()


class Login:
    """The session that is in use now."""

    def __init__(self, session: Session, connections: int, context: str | None = None) -> None:
        self.session = session
        self._connections = connections
        self._context = context
        self._reading = asyncio.Lock()

    @classmethod
    async def now(cls, connections: int, context: str | None = None) -> "Login":
        """Reads the credentials: those of a context of KUBECONFIG if one is named, else this Pod's, else KUBECONFIG's.

        Raises NoClusterError when there are none that can be used.
        """
        return cls(Session(await _api_client(connections, context)), connections, context)

    async def again(self, refused: Session) -> None:
        """Reads the credentials anew, once for all requests that were refused with the old ones.

        A kubeconfig's token or certificate may have been exchanged, or an exec plugin asked to give a new one.
        """
        async with self._reading:
            if self.session is refused:
                log.info("the API server no longer accepts our credentials; reading them again")
                self.session = Session(await _api_client(self._connections, self._context))
                await refused.give_up()


async def _api_client(connections: int, context: str | None = None) -> client.ApiClient:
    settings = client.Configuration()
    if context:
        await _load_kubeconfig(settings, context)
    else:
        try:
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            await _load_kubeconfig(settings)
    settings.connection_pool_maxsize = connections
    settings.proxy = settings.proxy or proxy_for(settings.host)
    # trust_env: or each request reads ~/.netrc and looks for proxies anew. read_bufsize: half of the longest line.
    settings.client_session_kwargs = {"trust_env": False, "read_bufsize": LONGEST_LINE // 2}
    api_client = client.ApiClient(settings)
    api_client.user_agent = f"sandmount/{__version__}"
    return api_client


def proxy_for(host: str) -> str | None:
    """What HTTPS_PROXY and NO_PROXY say of the API server."""
    url = urlsplit(host)
    return None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)


def chosen(context: str = "") -> tuple[str, str]:
    """A person's context, the named one or the current, and its namespace, as kubectl has them.

    The first file of KUBECONFIG that says something wins. Without one, no context (so the Pod's account, if this is a
    Pod, and the Pod's namespace). The namespace is ``default`` where none is named.
    """
    configs = [found for part in _kubeconfig().split(os.pathsep) if part for found in _read(Path(part).expanduser())]
    if not configs and not context:
        own = _OWN_NAMESPACE
        return "", own.read_text(encoding="utf-8").strip() if own.exists() else "default"
    name = context or next((str(c["current-context"]) for c in configs if c.get("current-context")), "")
    contexts = (item for c in configs for item in c.get("contexts") or () if isinstance(item, dict))
    found = next((item.get("context") for item in contexts if item.get("name") == name), None)
    return name, str((found or {}).get("namespace") or "default")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """One of KUBECONFIG's files, if it is one; what is wrong with it is said when it is used."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    if isinstance(found, dict):
        yield found


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _is_there(paths: str) -> bool:
    """Whether any of these files is; the loader's words about it are of another matter."""
    return any(Path(part).expanduser().exists() for part in paths.split(os.pathsep) if part)


async def _load_kubeconfig(settings: client.Configuration, context: str | None = None) -> None:
    path = _kubeconfig()
    if not _is_there(path):
        raise NoClusterError(f"no cluster: this is no Pod, and KUBECONFIG ({path}) cannot be used: no such file")
    try:
        await config.load_kube_config(
            config_file=path, context=context, client_configuration=settings, persist_config=False
        )
    except Exception as error:  # whatever the loader trips over in a file that somebody wrote
        raise NoClusterError(f"no cluster: this is no Pod, and KUBECONFIG ({path}) cannot be used: {error}") from error
