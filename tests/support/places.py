"""Where on the host tests make what they mount."""

import os
from pathlib import Path

_OURS = "/srv/sandmount-tests" if os.getuid() == 0 else f"{Path.home()}/.cache/sandmount-tests"
HOST_DIRECTORY = Path(os.environ.get("SANDMOUNT_TEST_DIR", _OURS))
"""Directories of the host that tests mount are made below this one."""
