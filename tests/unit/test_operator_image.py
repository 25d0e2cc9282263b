"""The image without a container engine is what the Dockerfile and the Deployment say."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement

from sandmount import __version__
from tests.cluster.image import PATH
from tests.cluster.operator_image import (
    BUILD_REQUIREMENTS,
    DOCKERFILE,
    FOLDER,
    LEFT_OUT,
    NAME,
    PYTHON,
    SUITE,
    configuration,
)

DEPLOYMENT = DOCKERFILE.parent / "manifests" / "base" / "deployment.yaml"


def pod_spec() -> dict[str, object]:
    """Of the operator's Pod."""
    found: dict[str, object] = yaml.safe_load(DEPLOYMENT.read_text())["spec"]["template"]["spec"]
    return found


def test_the_configuration_is_the_dockerfile_s() -> None:
    assert configuration(DOCKERFILE.read_text()) == {
        "User": "65532:65532",
        "WorkingDir": "/",
        "Env": [PATH, f"PYTHONPATH=/{FOLDER}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
        "Entrypoint": ["python3", "-m", "sandmount"],
        "Cmd": ["run"],
    }


def test_both_have_the_same_python_of_the_same_debian() -> None:
    [base] = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert re.fullmatch(rf"python:{re.escape(PYTHON)}\.[0-9]+-slim-{SUITE}@sha256:[0-9a-f]{{64}}", base)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)) == {"${PYTHON}"}


def test_what_builds_the_operator_is_pinned_as_pyproject_asks_for_it() -> None:
    asked = tomllib.loads((DOCKERFILE.parent / "pyproject.toml").read_text())["build-system"]["requires"]
    pinned = dict(re.findall(r"^(\S+)==(\S+) ", BUILD_REQUIREMENTS.read_text(), re.MULTILINE))
    wanted = {r.name: r.specifier for r in map(Requirement, asked)}
    assert pinned.keys() == wanted.keys()
    assert all(version in wanted[name] for name, version in pinned.items())


def test_the_deployment_runs_this_version_as_the_image_s_user() -> None:
    spec = pod_spec()
    containers, context = spec["containers"], spec["securityContext"]
    assert isinstance(containers, list)
    assert isinstance(context, dict)
    [container] = containers
    assert f"docker.io/library/{container['image']}" == NAME == f"docker.io/library/sandmount:{__version__}"
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == configuration(DOCKERFILE.read_text())["User"]


def test_documents_and_device_files_are_left_out_and_programs_are_not() -> None:
    out = ("./usr/share/doc/python3/README", "usr/share/man/man1/x.1", "./dev/null", "./var/cache/apt/pkgcache.bin")
    kept = ("./usr/bin/python3", "./usr/lib/python3.11/os.py", "./dev", "./usr/share/doc", "./etc/passwd")
    assert all(LEFT_OUT.match(name) for name in out)
    assert not any(LEFT_OUT.match(name) for name in kept)
