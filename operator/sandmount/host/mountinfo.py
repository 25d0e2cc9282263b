"""/proc/self/mountinfo as text to Mounts. Pure. The format is that of proc_pid_mountinfo(5)."""

import re
from dataclasses import dataclass

from sandmount import paths

WANTED = ("nosymfollow", "nosuid", "nodev")
"""Flags that narrow what a tenant can do with what a root holds."""

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount. ``options`` are its own and those of its file system; both decide."""

    number: int
    """As in the ``mnt_id`` of a descriptor's fdinfo."""
    device: str
    """Of the file system: two mounts of one have the same."""
    top: str
    """Which directory of the file system is mounted."""
    point: str
    file_system: str
    options: frozenset[str]

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written through it."""
        return "ro" in self.options

    @property
    def missing(self) -> tuple[str, ...]:
        """Flags that it would be better to have."""
        return tuple(flag for flag in WANTED if flag not in self.options)

    @property
    def shown(self) -> str:
        """For people: the flags that matter."""
        flags = [flag for flag in ("ro", *WANTED, "noexec") if flag in self.options]
        return f"{self.file_system} at {paths.quoted(self.point)}, " + (",".join(flags) or "without flags")


def parse(text: bytes) -> tuple[Mount, ...]:
    """The mounts, in the file's order. Lines that are not in the format are left out."""
    return tuple(mount for line in text.splitlines() if (mount := _mount(line)) is not None)


def below(mounts: tuple[Mount, ...], root: str) -> list[Mount]:
    """Mounts inside a root, by place."""
    inside = [m for m in mounts if m.point != root and paths.is_within(m.point, root)]
    return sorted(inside, key=lambda m: (m.point, m.number))


def place_on_device(mount: Mount, path: str) -> tuple[str, str]:
    """Device, and the place on it, of a path that lies in a mount: the same however often it is mounted."""
    return mount.device, paths.join(mount.top, paths.below(path, mount.point))


def _mount(line: bytes) -> Mount | None:
    own, _, rest = line.partition(b" - ")
    fields, last = own.split(b" "), rest.split(b" ")
    if len(fields) < 6 or len(last) < 3 or not fields[0].isdigit():
        return None
    options = frozenset(_text(fields[5]).split(",")) | ({"ro"} & set(_text(last[2]).split(",")))
    return Mount(
        number=int(fields[0]),
        device=_text(fields[2]),
        top=_text(fields[3]),
        point=_text(fields[4]),
        file_system=_text(last[0]),
        options=options,
    )


def _text(field: bytes) -> str:
    return _ESCAPED.sub(lambda m: bytes([int(m[1], 8) & 0xFF]), field).decode("utf-8", "surrogateescape")
