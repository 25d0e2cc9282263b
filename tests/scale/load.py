"""Requests to the API server, many at a time: kubectl would take minutes to make thousands of Sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from kubernetes.aio import client, config

from tests.support import Json
from tests.support.kubectl import ALLOWLIST_KEY, ALLOWLIST_NAME, OPERATOR_NAMESPACE

RESOURCE = {"group": "sandmount.dev", "version": "v1alpha1", "plural": "sandboxes"}
Result = TypeVar("Result")

AT_ONCE = 32
PAGE = 1000


class Load:
    """An administrator with one session."""

    def __init__(self, api_client: Any) -> None:
        self._custom = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)

    async def create(self, sandbox: Json) -> None:
        """Create one Sandbox."""
        namespace = sandbox["metadata"]["namespace"]
        await self._custom.create_namespaced_custom_object(**RESOURCE, namespace=namespace, body=sandbox)

    async def create_all(self, sandboxes: Iterable[Json]) -> None:
        """Create many, AT_ONCE of them at the same time."""
        left = iter(sandboxes)

        async def some() -> None:
            for sandbox in left:
                await self.create(sandbox)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(some())

    async def sandboxes(self, labels: str = "") -> list[Json]:
        """All Sandboxes of the cluster, or those with these labels."""
        found: list[Json] = []
        query: dict[str, Any] = {"limit": PAGE, "label_selector": labels}
        while True:
            page = await self._custom.list_cluster_custom_object(**RESOURCE, **query)
            found += page["items"]
            if not page["metadata"].get("continue"):
                return found
            query["_continue"] = page["metadata"]["continue"]

    async def set_allowlist(self, text: str) -> None:
        """Put this text into the allowlist's ConfigMap, which has to be there."""
        patch = {"data": {ALLOWLIST_KEY: text}}
        await self._core.patch_namespaced_config_map(ALLOWLIST_NAME, OPERATOR_NAMESPACE, patch)


def do(kubeconfig: Path, work: Callable[[Load], Awaitable[Result]]) -> Result:
    """Do some work with these credentials, and return what came of it."""

    async def within() -> Result:
        settings = client.Configuration()
        await config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings)
        settings.connection_pool_maxsize = AT_ONCE
        async with client.ApiClient(settings) as api_client:
            return await work(Load(api_client))

    return asyncio.run(within())
