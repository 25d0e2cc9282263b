"""Rules for a path, as text: what is canonical, what lies within what.

Nothing here looks at a file system. Text alone never proves where a path leads (a link can lead anywhere);
the kubelet's subPath does that, see docs/safe-mounts.md. These rules make sure that what is compared here and
what the kubelet mounts is the same text, so every function takes canonical paths or says what is not canonical.
"""

import posixpath
import unicodedata
from collections.abc import Iterator

MAX_PATH = 1024
"""Longest path accepted, in characters. Linux's PATH_MAX is 4,096 bytes with the kubelet's own prefix in it."""

MAX_COMPONENT = 255
"""Longest name of one directory, in bytes of UTF-8 (Linux NAME_MAX)."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode categories: controls, formats, surrogates, separators

RUNTIME_DIRECTORIES = ("/proc", "/sys", "/dev")
"""A container runtime makes these inside every container; nothing may be mounted at or under them."""

RESERVED_MOUNT_POINTS = ("/", "/etc", "/run", "/var/run")
"""Mounting over one of these hides what the runtime or the image needs there."""

HOST_CRITICAL = (
    "/proc", "/sys", "/dev", "/etc", "/boot", "/root", "/run", "/var/run", "/var/log", "/var/lib/kubelet",
    "/var/lib/etcd", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libexec", "/opt/cni",
    "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/lib/crio", "/var/lib/cni",
    "/var/lib/rancher", "/var/lib/k0s",
    "/var/lib/systemd", "/var/lib/dpkg", "/var/lib/rpm", "/var/spool/cron", "/var/snap", "/snap", "/opt/containerd",
)  # fmt: skip
"""Host directories through which a Pod can take over the node: no allowlist entry at, inside or above them."""


def problem_with_absolute(path: str) -> str | None:
    """What is wrong with an absolute path, as words that continue "host.path: ...", or None when it is canonical."""
    if not path:
        return 'is empty; write an absolute path such as "/data/shared"'
    if problem := _problem_with_text(path):
        return problem
    if not path.startswith("/"):
        return f"{quoted(path)} is not absolute; write a path that starts with /"
    if path == "/":
        return None
    return _problem_with_components(path, path[1:])


def problem_with_relative(path: str) -> str | None:
    """What is wrong with a subPath, as words that continue "subPath: ...", or None when it is canonical."""
    if not path:
        return "is empty; leave it out to mount the whole directory"
    if problem := _problem_with_text(path):
        return problem
    if path.startswith("/"):
        return f"{quoted(path)} is absolute; write it relative to the volume, without the leading /"
    return _problem_with_components(path, path)


def problem_with_mount_path(path: str) -> str | None:
    """What is wrong with a mountPath inside a container, or None when it can be mounted at."""
    if problem := problem_with_absolute(path):
        return problem
    if ":" in path:
        return f"{quoted(path)} contains a colon, which Kubernetes does not allow in a mountPath; choose another name"
    if path in RESERVED_MOUNT_POINTS:
        return (
            f"{quoted(path)} would hide what the container needs there; mount at a directory of its own, as /mnt/data"
        )
    for directory in RUNTIME_DIRECTORIES:
        if is_within(path, directory):
            return f"{quoted(path)} lies in {directory}, which the runtime makes; mount elsewhere, as /mnt/data"
    return None


def is_within(path: str, root: str) -> bool:
    """Whether ``path`` is ``root`` or below it, compared by whole components: /data holds /data/x, not /database."""
    return root in (path, "/") or path.startswith(root + "/")


def below(path: str, root: str) -> str:
    """The part of ``path`` below ``root``, relative; empty when they are the same.

    Raises ValueError when ``path`` is not within ``root``: a caller that has not checked that has a bug.
    """
    if not is_within(path, root):
        raise ValueError(f"{path!r} is not within {root!r}")
    return path[len(root) :].lstrip("/")


def join(root: str, relative: str) -> str:
    """``root`` followed by a relative path; either may be empty."""
    if not root or not relative:
        return root or relative
    return f"{root.rstrip('/')}/{relative}"


def without_trailing_slash(path: str) -> str:
    """The path as an admin may write it in the allowlist ('/data/') made canonical ('/data')."""
    return path.rstrip("/") or "/" if path.startswith("/") else path


def meant(path: str) -> str | None:
    """The canonical path that a sloppy absolute path stands for ('/data//x/../y' for '/data/y'); None if there is none.

    Only good for denying more: with links, '..' may lead elsewhere than the text says.
    """
    visible = "".join(c for c in path[: 2 * MAX_PATH] if unicodedata.category(c) not in _INVISIBLE).strip()
    if not visible.startswith("/"):
        return None
    return posixpath.normpath("/" + visible.lstrip("/"))


def upwards(path: str) -> Iterator[str]:
    """A canonical absolute path, its parent, and so on up to '/'."""
    while path != "/":
        yield path
        path = path.rpartition("/")[0] or "/"
    yield "/"


def host_critical(root: str) -> str | None:
    """The first directory of HOST_CRITICAL that ``root`` is, is inside of or is above of; None when there is none."""
    return next((d for d in HOST_CRITICAL if is_within(root, d) or is_within(d, root)), None)


def quoted(text: str, limit: int = 120) -> str:
    """The text for a message: quoted, control characters escaped, long text cut with its length."""
    shown = "".join(c if unicodedata.category(c) not in _INVISIBLE else _escaped(c) for c in text[:limit])
    return f'"{shown}"' if len(text) <= limit else f'"{shown}..." ({len(text)} characters)'


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _problem_with_text(path: str) -> str | None:
    if len(path) > MAX_PATH:
        return f"{quoted(path, 40)} is too long; at most {MAX_PATH} characters"
    if any(unicodedata.category(c) in _INVISIBLE for c in path):
        return f"{quoted(path)} contains a control or invisible character; write it without"
    return None


def _problem_with_components(path: str, relative: str) -> str | None:
    for component in relative.split("/"):
        if component == "":
            return f"{quoted(path)} has an empty part (// or a / at its end); write it without"
        if component in (".", ".."):
            return f"{quoted(path)} contains {component} as a part; write the path that is meant, without it"
        if len(component.encode()) > MAX_COMPONENT:
            return f"{quoted(path, 40)} has a part of more than {MAX_COMPONENT} bytes, which no file system can hold"
    return None
