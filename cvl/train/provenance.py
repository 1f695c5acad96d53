"""What a checkpoint was trained from and with, written beside it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

import cvl
from cvl.files import write_atomically

_LIBRARIES = ("torch", "transformers", "accelerate", "deepspeed", "tokenizers", "safetensors", "pillow", "numpy")


def versions() -> dict[str, str]:
    """The versions of everything that has a part in the numbers; what is not installed is left out."""
    found = {"cvl": cvl.__version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """The sha256 of each of these files by its name here; those that are not there are left out."""
    return {name: _sha256(path) for name, path in sorted(files.items()) if path.is_file()}


def command() -> str:
    """The command line of this process as a user would type it."""
    return shlex.join(["cvl", *sys.argv[1:]])


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` with the time, the command and the versions, in one step."""
    whole = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "command": command()}
    document = whole | {"versions": versions()} | dict(content)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
