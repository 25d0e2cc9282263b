"""A whole Sandbox, for programs that write one: what kubectl apply takes, of the models in api.py. Pure."""

from typing import Annotated, Any

from pydantic import Field

from sandmount.api import API_VERSION, KIND, MAX_NAME, Model, SandboxSpec
from sandmount.fields import DnsLabel, DnsSubdomain, LabelKey, LabelValue


class Metadata(Model):
    """Of a Sandbox; without a namespace, it is for whoever applies it to choose."""

    name: Annotated[DnsSubdomain, Field(max_length=MAX_NAME)]
    namespace: DnsLabel | None = None
    labels: dict[LabelKey, LabelValue] | None = None
    annotations: dict[LabelKey, str] | None = None


def manifest(metadata: Metadata, spec: SandboxSpec) -> dict[str, Any]:
    """The Sandbox, without what equals its default."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata.to_wire(), "spec": spec.to_wire()}
