"""kopf's side: watches, signals and the liveness probe; and the tasks that run beside them.

Handlers only pass on what they were given: kopf does not retry a failed on.event handler, our queue does. No handler
that changes objects (on.create, on.update, daemons, timers) is used, because those write annotations or finalizers.
"""

import asyncio
import itertools
import logging
import signal
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import kopf

from sandmount import listfile
from sandmount.answers import Missing, Transient
from sandmount.api import GROUP, LABEL_SANDBOX, PLURAL, VERSION
from sandmount.cluster import ALLOWLIST, ApiServer
from sandmount.reconcile import Reconciler
from sandmount.settings import Admission, Settings

if TYPE_CHECKING:
    from sandmount.webhook import Webhook

log = logging.getLogger(__name__)

CRD_AGAIN = 5.0
"""Seconds between looks for the CRD while it is not installed."""


class CrdRemovedError(Exception):
    """The CRD was removed while the operator worked, and all Sandboxes with it."""


async def run(settings: Settings, liveness: str | None) -> None:
    """Runs the operator until it is told to stop (SIGTERM, SIGINT) or something in it fails for good.

    ``liveness`` is the URL at which kopf answers probes, as ``http://0.0.0.0:8080/healthz``. Raises NoClusterError and
    CrdRemovedError; started again, the operator waits for the CRD.
    """
    _stop_on_signals()
    api = await ApiServer.connect(connections=settings.workers + 8)
    try:
        await _wait_for_crd(api)
        try:
            await _serve(api, settings, liveness)
        except ExceptionGroup as error:
            if isinstance(await api.list_sandboxes(), Missing):
                raise CrdRemovedError(f"the CRD {PLURAL}.{GROUP} was removed, and all Sandboxes with it") from error
            raise
    finally:
        await api.close()


async def _serve(api: ApiServer, settings: Settings, liveness: str | None) -> None:
    reconciler = Reconciler(api, settings)
    webhook = _webhook(settings)
    async with asyncio.TaskGroup() as tasks:
        beside = [
            tasks.create_task(_follow_allowlist(api, reconciler, webhook, settings), name="allowlist"),
            tasks.create_task(_work(reconciler, settings), name="workers"),
        ]
        if webhook:
            beside.append(tasks.create_task(webhook.follow_secret(api), name="certificate"))
        await kopf.operator(
            registry=_registry(reconciler, webhook),
            settings=_kopf_settings(webhook),
            clusterwide=True,
            standalone=True,
            liveness_endpoint=liveness,
        )
        for task in beside:
            task.cancel()


def _webhook(settings: Settings) -> "Webhook | None":
    if settings.admission is Admission.OFF:
        return None
    from sandmount.webhook import Webhook  # noqa: PLC0415 - it makes certificates, and the library for that has 8 MiB

    return Webhook(settings)


def _stop_on_signals() -> None:
    """Until kopf installs its own: as process 1 of a container a process has none by default."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _wait_for_crd(api: ApiServer) -> None:
    said = ""
    while True:
        try:
            if not isinstance(await api.list_sandboxes(), Missing):
                return
            words = f"the CRD {PLURAL}.{GROUP} is not installed; waiting for it"
        except Transient as error:
            words = f"{error}; trying again"
        if words != said:
            log.warning(words)
            said = words
        await asyncio.sleep(CRD_AGAIN)


async def _follow_allowlist(
    api: ApiServer, reconciler: Reconciler, webhook: "Webhook | None", settings: Settings
) -> None:
    known = None
    async for config_map in api.watch_named(ALLOWLIST, settings.namespace, settings.allowlist_name):
        version = listfile.version_of(config_map)
        if version == known:
            continue  # a watch begins anew every minute
        known = version
        # In a thread: a list of megabytes takes seconds, in which watches, workers and probes have to go on.
        loaded = await asyncio.to_thread(listfile.load, config_map, settings.empty_allowlist)
        if webhook:
            webhook.allowlist = loaded
        await reconciler.saw_allowlist(loaded, config_map)


async def _work(reconciler: Reconciler, settings: Settings) -> None:
    await reconciler.begin()
    log.info("all Sandboxes and Pods are known; working")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(reconciler.known.keep_swept(settings.sweep_seconds), name="sweep")
        tasks.create_task(reconciler.watch_clock(), name="clock")
        for number in range(settings.workers):
            tasks.create_task(reconciler.work(), name=f"worker {number}")


def _registry(reconciler: Reconciler, webhook: "Webhook | None") -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_via_client)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def sandbox(event: Any, **_: Any) -> None:
        reconciler.known.saw_sandbox(event["type"], event["object"])

    @kopf.on.event("v1", "pods", registry=registry)
    async def pod(event: Any, **_: Any) -> None:
        reconciler.known.saw_pod(event["type"], event["object"])

    if webhook:

        @kopf.on.validate(GROUP, VERSION, PLURAL, operations=["CREATE", "UPDATE"], registry=registry)
        async def admit(warnings: list[str], **about: Any) -> None:
            answer = webhook.answer(about["operation"], about["new"], about["old"])
            warnings.extend(answer.warnings)
            if not answer.allowed:
                raise kopf.AdmissionError(answer.message, code=HTTPStatus.FORBIDDEN)

    return registry


def _kopf_settings(webhook: "Webhook | None") -> kopf.OperatorSettings:
    for name in ("kopf.objects", "aiohttp.access"):  # or one line an event, and one a probe
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").addFilter(_is_no_refusal)
    settings = kopf.OperatorSettings()
    settings.watching.label_selectors["v1", "pods"] = LABEL_SANDBOX  # on the server: other Pods cost nothing
    settings.watching.chunk_size = 50  # of objects that tenants make as large as they can
    settings.watching.connect_timeout = 10
    settings.networking.error_backoffs = _Patiently()
    settings.scanning.disabled = True  # or kopf asks for rights on all CRDs and namespaces
    settings.posting.enabled = False
    if webhook:
        settings.admission.server = webhook.serve  # and admission.managed stays None: kopf writes no configurations
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    return settings


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """What the webhook refuses is a mistake of its user's; kopf logs it as an error of the operator's."""
    return "failed permanently" not in record.getMessage()


class _Patiently:
    """Delays between attempts of a watch, in seconds, without an end: kopf's own end after 75 s, and it with them."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1.0, 2.0), itertools.repeat(5.0))


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is kept: no handler here compares old and new, and the default copies every object at every event."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Nothing is kept: no handler here has progress."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence
