"""``sandmount check``: reads files, asks check, lint and hostcheck, prints what they found."""

import asyncio
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import click
from pydantic import ValidationError

from sandmount.allowlist import Entry
from sandmount.answers import Json, Missing, Transient, words
from sandmount.check import sarif
from sandmount.check.documents import MAX_BYTES
from sandmount.check.findings import Finding, Level, Place, exit_code
from sandmount.check.lint import item_places, lint
from sandmount.check.listsource import ListSource, from_cluster, from_file
from sandmount.check.manifests import contents, invalid, is_namespace
from sandmount.check.output import to_json, to_text
from sandmount.check.sandboxes import Report, check, report
from sandmount.cluster import ApiServer
from sandmount.host import rules
from sandmount.host.facts import RootFacts, in_user_namespace, look
from sandmount.host.tree import MAX_FILES, Limits
from sandmount.login import NoClusterError
from sandmount.settings import EmptyAllowlist, SecretRefs, Settings

_DEFAULTS = Settings()
_STDIN = "stdin"
Source = ListSource | tuple[Finding, ...]


class _CannotError(click.ClickException):
    """Nothing could be checked. Exit code 1 would say that something is denied."""

    exit_code = 2


def _setting(name: str, **more: Any) -> Callable[[Any], Any]:
    """An option that is a setting of the operator, with the operator's environment variable."""
    return click.option(name, show_envvar=True, **more)


@click.command(name="check", context_settings={"show_default": True})
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--allowlist", metavar="FILE", help="The allowlist: its ConfigMap's YAML, or the bare list; - for stdin.")
@click.option("--from-cluster", is_flag=True, help="Read the allowlist that is in force, with KUBECONFIG.")
@click.option("--namespace", "-n", default="default", help="Namespace of Sandboxes that name none.")
@click.option("--output", "-o", type=click.Choice(["text", "json", "sarif"]), default="text", help="What is printed.")
@click.option("--host", is_flag=True, help="On a node: look at the directories that the allowlist names.")
@click.option("--max-files", type=click.IntRange(min=1), default=MAX_FILES, help="With --host: below each root.")
@click.option("--one-file-system", is_flag=True, help="With --host: leave out what is mounted below a root.")
@_setting(
    "--operator-namespace", envvar="SANDMOUNT_NAMESPACE", default=_DEFAULTS.namespace,
    help="The operator's own namespace, where the allowlist is.",
)  # fmt: skip
@_setting(
    "--allowlist-name", envvar="SANDMOUNT_ALLOWLIST_NAME", default=_DEFAULTS.allowlist_name,
    help="The allowlist's ConfigMap.",
)  # fmt: skip
@_setting(
    "--empty-allowlist", envvar="SANDMOUNT_EMPTY_ALLOWLIST", type=click.Choice([k.value for k in EmptyAllowlist]),
    default=_DEFAULTS.empty_allowlist.value, help="What an explicit empty list [] means: every path, or none.",
)  # fmt: skip
@_setting(
    "--secret-refs", envvar="SANDMOUNT_SECRET_REFS", type=click.Choice([k.value for k in SecretRefs]),
    default=_DEFAULTS.secret_refs.value, help="Whether env[].valueFrom.secretKeyRef may be used.",
)  # fmt: skip
@_setting(
    "--runtime-classes", envvar="SANDMOUNT_RUNTIME_CLASSES", default="",
    help="RuntimeClasses that a Sandbox may name, comma-separated; * for any; none when empty.",
)  # fmt: skip
def command(  # noqa: PLR0913 - one argument per option
    *,
    files: tuple[str, ...],
    allowlist: str | None,
    from_cluster: bool,
    namespace: str,
    output: str,
    host: bool,
    max_files: int,
    one_file_system: bool,
    operator_namespace: str,
    runtime_classes: str,
    **settings: Any,
) -> None:
    """Say what the operator would allow, before anything is applied.

    FILEs are manifests with Sandboxes among other objects, in YAML or JSON; - is stdin. The settings have to be those
    of the operator. Without a FILE the allowlist itself is checked; with --host, the directories of this node.

    Exit code 0: all is allowed. 1: something is denied. 2: something could not be judged.
    """
    _refuse(allowlist, files, from_cluster=from_cluster, host=host)
    if not is_namespace(namespace):
        raise click.UsageError(f"--namespace: {namespace!r} is not the name of a namespace")
    names = frozenset(n.strip() for n in runtime_classes.split(",") if n.strip())
    chosen = _settings(namespace=operator_namespace, runtime_classes=names, **settings)
    inputs = _Inputs()
    source = _live(chosen) if allowlist is None else inputs.allowlist(allowlist, chosen)
    if host:
        found = _checked_host(source, Limits(max_files, one_file_system))
    else:
        found = _checked_files(inputs, files, source, namespace, chosen)
    click.echo(_shown(found, output), nl=False)
    sys.exit(exit_code(found.findings))


def _refuse(allowlist: str | None, files: tuple[str, ...], *, from_cluster: bool, host: bool) -> None:
    """Raises UsageError for options that do not go together."""
    if from_cluster == (allowlist is not None):
        raise click.UsageError("name the allowlist: either --allowlist FILE or --from-cluster")
    if host and files:
        raise click.UsageError("--host looks at this node and takes no FILE")
    if host and platform.system() != "Linux":
        raise click.UsageError("--host looks at a node, which runs Linux")


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as error:
        raise click.UsageError("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())) from error


class _Inputs:
    """Files as bytes; standard input is read once, however often it is named."""

    def __init__(self) -> None:
        self._stdin: bytes | None = None

    def read(self, file: str) -> tuple[str, bytes | Finding]:
        """The file's name for people, and its bytes or why it has none. One byte more than the limit is enough."""
        try:
            if file != "-":
                with Path(file).open("rb") as opened:
                    return file, opened.read(MAX_BYTES + 1)
            if self._stdin is None:
                self._stdin = sys.stdin.buffer.read(MAX_BYTES + 1)
            return _STDIN, self._stdin
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return file, invalid(Place(file), "Unreadable", f"cannot be read: {why}")

    def allowlist(self, file: str, settings: Settings) -> Source:
        """The allowlist in a file, or what is wrong with that file."""
        name, data = self.read(file)
        return (data,) if isinstance(data, Finding) else from_file(name, data, settings)


def _live(settings: Settings) -> ListSource:
    return from_cluster(asyncio.run(_read_config_map(settings)), settings)


async def _read_config_map(settings: Settings) -> Json | None:
    try:
        api = await ApiServer.connect(1)
        try:
            answer = await api.get_config_map(settings.namespace, settings.allowlist_name)
        finally:
            await api.close()
    except (NoClusterError, Transient, OSError) as error:  # the last for certificates that cannot be used
        raise _CannotError(str(error)) from error
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, Missing):
        return None
    where = f"{settings.namespace}/{settings.allowlist_name}"
    raise _CannotError(f"the allowlist (ConfigMap {where}) cannot be read: {words(answer)}")


def _checked_files(inputs: _Inputs, files: Iterable[str], source: Source, namespace: str, settings: Settings) -> Report:
    texts, unreadable = [], []
    for file in files:
        name, data = inputs.read(file)
        if isinstance(data, Finding):
            unreadable.append(data)
        else:
            texts.append(contents(name, data, namespace))
    manifests = [m for text in texts for m in text.sandboxes]
    judged = check(manifests, source.allowlist, settings) if isinstance(source, ListSource) else ()
    return report(texts, judged, [*unreadable, *_about_list(source, alone=not files)])


def _about_list(source: Source, *, alone: bool) -> tuple[Finding, ...]:
    """All about the allowlist when it is what is checked.

    Beside Sandboxes, notes would only be noise; and whoever checks them against the list in force cannot mend it.
    """
    if not isinstance(source, ListSource):
        return source
    if alone:
        return lint(source)
    kept = {Level.INVALID} if source.is_live else {Level.INVALID, Level.ERROR, Level.WARNING}
    return tuple(f for f in lint(source) if f.level in kept)


def _checked_host(source: Source, limits: Limits) -> Report:
    if not isinstance(source, ListSource):
        return Report(other_findings=source)
    found = [f for f in lint(source) if f.level in (Level.INVALID, Level.ERROR)]
    if source.allowlist.allows_all:
        found.append(rules.nothing_to_check(source.place(1)))
    if in_user_namespace():
        found.append(rules.owners_unknown(source.place(1)))
    places = item_places(source)
    facts: dict[str, RootFacts] = {}
    looked: list[tuple[Entry, Place, RootFacts]] = []
    for entry in sorted(source.allowlist.entries, key=lambda e: bool(e.nodes)):  # of one root, first those of all nodes
        place = places.get(entry.position, source.place(1))
        if entry.root not in facts:
            facts[entry.root] = look(entry.root, limits)
            found += rules.judge_root(entry, place, facts[entry.root])
        looked.append((entry, place, facts[entry.root]))
    return Report(other_findings=(*found, *rules.judge_together(looked)))


def _shown(found: Report, output: str) -> str:
    match output:
        case "json":
            return to_json(found)
        case "sarif":
            return sarif.to_sarif(found.findings, PurePosixPath(Path.cwd()))
    return to_text(found)
