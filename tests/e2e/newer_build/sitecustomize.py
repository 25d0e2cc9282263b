"""A later version of the operator, for a test of upgrades: it knows one more field, and builds Pods in another way.

Python runs this at its start where this folder is on PYTHONPATH.
"""

from typing import Any

from pydantic import Field

from sandmount import plan, pod
from sandmount.api import SandboxSpec

_build_pod = pod.build_pod


def build_pod(*args: Any, **more: Any) -> dict[str, Any]:
    """A Pod as today's, with an annotation."""
    built = _build_pod(*args, **more)
    built["metadata"]["annotations"]["example.com/newer"] = "true"
    return built


class NewerSpec(SandboxSpec):
    """A spec with one more field, which nobody has set yet."""

    priority: int = Field(default=0)


SandboxSpec.model_validate = NewerSpec.model_validate  # type: ignore[method-assign]
vars(plan)["build_pod"] = build_pod
