"""``kubectl sandbox``: the commands. They ask the API server with the user's own rights and change nothing."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from sandmount import __version__, listfile
from sandmount.answers import Json, Missing, Transient, Unanswered, words
from sandmount.api import CONTAINER, GROUP, PLURAL
from sandmount.cluster import ApiServer
from sandmount.login import NoClusterError, chosen
from sandmount.people import candidates, listing
from sandmount.people.story import headline, story
from sandmount.settings import EmptyAllowlist, Settings

_DEFAULTS = Settings()
SHELL = "command -v bash >/dev/null 2>&1 && exec bash; exec sh"
T = TypeVar("T")


def _name(_: click.Context, __: click.Parameter, text: str) -> str:
    """Refuses what no Sandbox can be called: it would be another path of the API server's."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text):
        raise click.BadParameter(f"{text!r} is no name of a Sandbox: lower-case letters, digits, '-' and '.'")
    return text


def _where(command: Callable[..., Any]) -> Callable[..., Any]:
    """kubectl's own options, which it does not hand to plugins that stand before them."""
    command = click.option("--context", default="", help="Context of the kubeconfig.")(command)
    return click.option("--namespace", "-n", help="Namespace; that of the context when not given.")(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Sandboxes, for people: which there are, why one is not up, a shell in one, and what may be mounted."""


@main.command()
@click.option("--all-namespaces", "-A", is_flag=True, help="Those of all namespaces.")
@_where
def ls(*, all_namespaces: bool, namespace: str | None, context: str) -> None:
    """List Sandboxes."""
    context, own = chosen(context)
    place = None if all_namespaces else namespace or own
    found = _asked(context, lambda api: api.list_sandboxes(place))
    if isinstance(found, Missing):
        raise click.ClickException(f"this cluster has no Sandboxes: the CRD {PLURAL}.{GROUP} is not installed")
    items = _answered(found)
    if not items:
        click.echo("No Sandboxes found." if place is None else f'No Sandboxes found in namespace "{place}".', err=True)
        return
    _print_table(listing.sandboxes(items, _now(), everywhere=all_namespaces))


@main.command()
@click.argument("name", callback=_name, shell_complete=candidates.names)
@_where
def why(name: str, *, namespace: str | None, context: str) -> None:
    """Tell the story of one Sandbox, from its spec to what its Pod last met with."""
    context, own_namespace = chosen(context)
    key = namespace or own_namespace, name

    async def gather(api: ApiServer) -> tuple[Json | Unanswered, Json | Unanswered, list[Json] | Unanswered]:
        return await asyncio.gather(api.get_sandbox(key), api.get_pod(key), api.list_events_about(key))

    sandbox, pod, events = _asked(context, gather)
    sandbox = _there(sandbox, key)
    own = pod if isinstance(pod, dict) and _owner(pod) == sandbox["metadata"]["uid"] else None
    hidden = not isinstance(pod, dict | Missing)
    told = [e for e in events if _is_about(e, sandbox, own, hidden=hidden)] if isinstance(events, list) else []
    first, *more = story(sandbox, own, told, _now(), hidden=hidden)
    click.secho(first, bold=True)
    for line in more:
        click.echo(line)


@main.command()
@click.argument("name", callback=_name, shell_complete=candidates.names)
@click.option("--command", "-c", default=SHELL, help="What the shell runs; a shell to type in when not given.")
@_where
def shell(name: str, *, command: str, namespace: str | None, context: str) -> None:
    """Open a shell in a Sandbox; needs the right to exec in Pods."""
    context, own_namespace = chosen(context)
    key = namespace or own_namespace, name
    sandbox = _there(_asked(context, lambda api: api.get_sandbox(key)), key)
    if not (sandbox.get("status") or {}).get("podName"):
        raise click.ClickException(headline(sandbox, _now()))
    terminal = ["-it"] if os.isatty(0) and os.isatty(1) else ["-i"]
    place = [f"--context={context}"] if context else []
    argv = ["kubectl", *place, "exec", *terminal, "-n", key[0], name, "-c", CONTAINER, "--", "sh", "-c", command]
    try:
        os.execvp("kubectl", argv)  # noqa: S606, S607 - the user's own, as a plugin of which this runs
    except OSError as error:
        raise click.ClickException(f"kubectl cannot be run: {error.strerror}") from error


@main.command()
@click.option(
    "--operator-namespace", envvar="SANDMOUNT_NAMESPACE", default=_DEFAULTS.namespace, show_default=True,
    show_envvar=True, help="Where the allowlist is.",
)  # fmt: skip
@click.option(
    "--allowlist-name", envvar="SANDMOUNT_ALLOWLIST_NAME", default=_DEFAULTS.allowlist_name, show_default=True,
    show_envvar=True, help="Its ConfigMap.",
)  # fmt: skip
@click.option(
    "--empty-allowlist", envvar="SANDMOUNT_EMPTY_ALLOWLIST", type=click.Choice([e.value for e in EmptyAllowlist]),
    show_envvar=True, help="What [] means to the operator.",
)  # fmt: skip
@_where
def paths(
    *, operator_namespace: str, allowlist_name: str, empty_allowlist: str | None, namespace: str | None, context: str
) -> None:
    """Show which host paths the Sandboxes of a namespace may mount; needs the right to read the allowlist."""
    context, own = chosen(context)
    place = namespace or own
    found = _asked(context, lambda api: api.get_config_map(operator_namespace, allowlist_name))
    config_map = None if isinstance(found, Missing) else _answered(found)
    allowlist = listfile.load(config_map, EmptyAllowlist(empty_allowlist or EmptyAllowlist.ALLOW))
    shown = listing.paths(allowlist, place)
    if allowlist.allows_all and empty_allowlist is None:
        click.echo(listing.DEPENDS)
    elif isinstance(shown, str):
        click.echo(shown)
    else:
        _print_table(shown)
    for line in listing.exceptions(allowlist, place):
        click.echo(line)


def _asked(context: str, ask: Callable[[ApiServer], Awaitable[T] | Coroutine[Any, Any, T]]) -> T:
    """What the API server answers. Raises ClickException where it cannot be asked."""

    async def once() -> T:
        api = await ApiServer.connect(4, context=context)
        try:
            return await ask(api)
        finally:
            await api.close()

    try:
        return asyncio.run(once())
    except (NoClusterError, Transient, OSError) as error:
        raise click.ClickException(str(error)) from error


def _answered(found: T | Unanswered) -> T:
    if isinstance(found, Unanswered):
        raise click.ClickException(words(found))
    return found


def _there(found: Json | Unanswered, key: tuple[str, str]) -> Json:
    if isinstance(found, Missing):
        raise click.ClickException(f'there is no Sandbox "{key[1]}" in namespace "{key[0]}"')
    return _answered(found)


def _owner(pod: Json) -> str | None:
    """uid of the controller."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((o["uid"] for o in owners if o.get("controller")), None)


def _is_about(event: Json, sandbox: Json, pod: Json | None, *, hidden: bool) -> bool:
    """Of a Pod that may not be seen, the name and the time have to do: its Events may be seen all the same."""
    about, own = event.get("involvedObject") or {}, sandbox["metadata"]
    if about.get("uid") and about["uid"] in {own["uid"], pod["metadata"]["uid"] if pod else None}:
        return True
    made = event["metadata"].get("creationTimestamp") or ""
    return hidden and about.get("kind") == "Pod" and made >= own["creationTimestamp"]


def _now() -> datetime:
    return datetime.now(UTC)


def _print_table(rows: listing.Rows) -> None:
    """As kubectl prints tables: columns of the same width, three spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        line = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.secho(line, bold=number == 0)
