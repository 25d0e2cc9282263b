"""The command line: ``python -m sandmount run``. Every option is an environment variable too (SANDMOUNT_...)."""

import asyncio
import contextlib
import gc
import logging
from typing import Any

import click
from pydantic import ValidationError

from sandmount import __version__, handlers
from sandmount import crd as definition
from sandmount.check import command as check_command
from sandmount.login import NoClusterError
from sandmount.logs import LogFormat, configure
from sandmount.probes import AddressError
from sandmount.settings import Admission, EmptyAllowlist, OnRevoke, SecretRefs, Settings

log = logging.getLogger(__name__)

_DEFAULTS = Settings()


def _choice(kind: Any) -> click.Choice[str]:
    return click.Choice([k.value for k in kind])


@click.group(context_settings={"auto_envvar_prefix": "SANDMOUNT", "show_default": True})
@click.version_option(__version__)
def main() -> None:
    """Sandmount: Sandboxes with allowlisted host directories."""


@main.command(context_settings={"auto_envvar_prefix": "SANDMOUNT"})
@click.option("--namespace", default=_DEFAULTS.namespace, show_envvar=True, help="The operator's own namespace.")
@click.option("--allowlist-name", default=_DEFAULTS.allowlist_name, show_envvar=True, help="The allowlist's ConfigMap.")
@click.option(
    "--empty-allowlist", type=_choice(EmptyAllowlist), default=_DEFAULTS.empty_allowlist.value, show_envvar=True,
    help="What an explicit empty list [] means: every path, or none.",
)  # fmt: skip
@click.option(
    "--secret-refs", type=_choice(SecretRefs), default=_DEFAULTS.secret_refs.value, show_envvar=True,
    help="Whether env[].valueFrom.secretKeyRef may be used.",
)  # fmt: skip
@click.option(
    "--on-revoke", type=_choice(OnRevoke), default=_DEFAULTS.on_revoke.value, show_envvar=True,
    help="What happens to a running Sandbox that a valid allowlist no longer allows.",
)  # fmt: skip
@click.option(
    "--runtime-classes", default="", show_envvar=True,
    help="RuntimeClasses that a Sandbox may name, comma-separated; * for any; none when empty.",
)  # fmt: skip
@click.option("--workers", type=int, default=_DEFAULTS.workers, show_envvar=True, help="Sandboxes looked at at once.")
@click.option(
    "--admission", type=_choice(Admission), default=_DEFAULTS.admission.value, show_envvar=True,
    help="What the admission webhook does with a Sandbox that would not run: warn, deny, or there is no webhook.",
)  # fmt: skip
@click.option("--admission-address", default="", show_envvar=True, help="Address it listens on; all when empty.")
@click.option(
    "--admission-port", type=int, default=_DEFAULTS.admission_port, show_envvar=True, help="Port it listens on."
)
@click.option(
    "--admission-service", default=_DEFAULTS.admission_service, show_envvar=True,
    help="Service, in the operator's own namespace, by which the API server calls the admission webhook.",
)  # fmt: skip
@click.option(
    "--admission-secret", default=_DEFAULTS.admission_secret, show_envvar=True,
    help="Secret, in the operator's own namespace, with the admission webhook's certificate.",
)  # fmt: skip
@click.option("--http-address", default="", show_envvar=True, help="Address of the probes; all when empty.")
@click.option(
    "--http-port", type=int, default=_DEFAULTS.http_port, show_envvar=True,
    help="Port at which /healthz, /readyz and /metrics are answered, such as 8080; 0 for none.",
)  # fmt: skip
@click.option(
    "--log-format", type=_choice(LogFormat), default=LogFormat.TEXT.value, show_envvar=True,
    help="Lines for people, or an object of JSON in each line.",
)  # fmt: skip
@click.option("--verbose", is_flag=True, show_envvar=True, help="Log every event.")
def run(*, log_format: str, verbose: bool, runtime_classes: str, **options: Any) -> None:
    """Run the operator, in a cluster or with KUBECONFIG beside one."""
    names = frozenset(n.strip() for n in runtime_classes.split(",") if n.strip())
    try:
        settings = Settings(runtime_classes=names, **options)
    except ValidationError as error:
        raise click.UsageError("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())) from error
    configure(LogFormat(log_format), verbose=verbose)
    _collect_less_often()
    with contextlib.suppress(asyncio.CancelledError):  # told to stop
        try:
            asyncio.run(handlers.run(settings))
        except (NoClusterError, AddressError, handlers.CrdRemovedError) as error:
            if log_format == LogFormat.JSON:  # whoever reads the log as such must not miss its last line
                log.critical("%s", error)
                raise SystemExit(1) from error
            raise click.ClickException(str(error)) from error


def _collect_less_often() -> None:
    """A tenth of all processor time was the cyclic garbage collector's, looking at what lives as long as its Sandbox.

    What the imports made is never looked at again, and there have to be more new objects before it looks at all.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition, as kubectl apply --server-side -f - takes it."""
    click.echo(definition.text(), nl=False)


main.add_command(check_command.command)
