"""The programs that pip makes of an installed Sandmount, made of this checkout, for a PATH."""

import sys
import tomllib
from pathlib import Path

from tests.support.installation import REPOSITORY

PROGRAM = """\
#!{python}
import sys

sys.path.insert(0, {sources!r})
from {module} import {function}

sys.exit({function}())
"""


def put_programs(folder: Path) -> None:
    """Each that pyproject.toml names, into a folder that is there."""
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    for name, place in scripts.items():
        module, _, function = place.partition(":")
        text = PROGRAM.format(
            python=sys.executable, sources=str(REPOSITORY / "operator"), module=module, function=function
        )
        program = folder / name
        program.write_text(text)
        program.chmod(0o755)
