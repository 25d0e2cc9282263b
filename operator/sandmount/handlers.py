"""The process: kopf's side of it (signals and admission reviews), and the tasks that run beside it.

kopf watches nothing here. Its way from a watch event to a handler took a third of the operator's processor time
(docs/performance.md).
"""

import asyncio
import itertools
import logging
import signal
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import kopf

from sandmount import listfile
from sandmount.answers import Transient
from sandmount.api import GROUP, PLURAL, VERSION
from sandmount.cluster import ALLOWLIST, SANDBOXES, ApiServer
from sandmount.follow import KindRemovedError
from sandmount.health import Health, Pulse
from sandmount.metrics import Metrics
from sandmount.probes import serving
from sandmount.reconcile import Reconciler
from sandmount.settings import Admission, Settings

if TYPE_CHECKING:
    from sandmount.webhook import Webhook

log = logging.getLogger(__name__)

CRD = f"{PLURAL}.{GROUP}"

_NOBODY: Any = "sandmount"
"""Who we are to other operators of kopf's, of which there are none; or it asks for the name of a user that has none."""

CRD_AGAIN = 5.0
"""Seconds between looks for the CRD while it is not installed."""


class CrdRemovedError(Exception):
    """The CRD was removed while the operator worked, and all Sandboxes with it."""


async def run(settings: Settings) -> None:
    """Runs the operator until it is told to stop (SIGTERM, SIGINT) or something in it fails for good.

    Raises NoClusterError, AddressError and CrdRemovedError; started again, the operator waits for the CRD.
    """
    _stop_on_signals()
    metrics, health = Metrics(), Health(lambda: [f"the CRD {CRD}"])
    api = await ApiServer.connect(settings.workers + 8, metrics.asked)
    try:
        async with serving(settings.http_address, settings.http_port, health, metrics):
            await _wait_for_crd(api, health)
            await _serve(api, settings, health, metrics)
    except ExceptionGroup as error:
        if error.subgroup(KindRemovedError):
            raise CrdRemovedError(f"the CRD {CRD} was removed, and all Sandboxes with it") from error
        raise
    finally:
        await api.close()


async def _serve(api: ApiServer, settings: Settings, health: Health, metrics: Metrics) -> None:
    reconciler = Reconciler(api, settings, metrics)
    webhook = _webhook(settings)
    allowlist = Pulse("the watch of the allowlist")
    health.pulses += [*reconciler.known.pulses, allowlist]
    health.missing = reconciler.missing
    metrics.show(reconciler.snapshot)
    async with asyncio.TaskGroup() as tasks:
        beside = [
            tasks.create_task(_follow_allowlist(api, reconciler, webhook, settings, allowlist), name="allowlist"),
            tasks.create_task(reconciler.known.follow(), name="watches"),
            tasks.create_task(_work(reconciler, settings), name="workers"),
        ]
        if webhook:
            beside.append(tasks.create_task(webhook.follow_secret(api), name="certificate"))
        await kopf.operator(
            registry=_registry(webhook),
            settings=_kopf_settings(webhook),
            clusterwide=True,
            standalone=True,
            identity=_NOBODY,
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


async def _wait_for_crd(api: ApiServer, health: Health) -> None:
    said = ""
    while True:
        try:
            if await api.has_kind(SANDBOXES):
                return
            words = f"the CRD {CRD}, which is not installed"
        except Transient as error:
            words = f"the API server: {error}"
        if words != said:
            log.warning("waiting for %s", words)
            said = words
            health.missing = partial(iter, [words])
        await asyncio.sleep(CRD_AGAIN)


async def _follow_allowlist(
    api: ApiServer, reconciler: Reconciler, webhook: "Webhook | None", settings: Settings, pulse: Pulse
) -> None:
    known = None
    watched = api.watch_named(ALLOWLIST, settings.namespace, settings.allowlist_name, pulse.beat)
    async for config_map in watched:
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
        tasks.create_task(reconciler.watch_clock(), name="clock")
        for number in range(settings.workers):
            tasks.create_task(reconciler.work(), name=f"worker {number}")


def _registry(webhook: "Webhook | None") -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_via_client)
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
    settings.networking.error_backoffs = _Patiently()
    settings.scanning.disabled = True  # or kopf asks for rights on all CRDs and namespaces
    settings.posting.enabled = False
    if webhook:
        settings.admission.server = webhook.serve  # and admission.managed stays None: kopf writes no configurations
    return settings


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """What the webhook refuses is a mistake of its user's; kopf logs it as an error of the operator's."""
    return "failed permanently" not in record.getMessage()


class _Patiently:
    """Delays between kopf's own requests, in seconds, without an end: its own end after a minute, and it with them."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1.0, 2.0), itertools.repeat(5.0))
