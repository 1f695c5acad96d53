"""The programs that cvl is compared with: where they are, and their set-up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nginx

_IMG2DATASET = "1.47.0"
_APT = {"nginx": "nginx", "aria2c": "aria2", "curl": "curl"}


def program(name: str) -> str | None:
    """Where a program is: beside the running Python, or on the path. None where it is not installed."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=f"{beside}:{os.environ.get('PATH', os.defpath)}")


def absent(name: str) -> str:
    """Why a program cannot take part, "" if it can."""
    return "" if program(name) else f"{name} is not installed"


def img2dataset() -> Path:
    """The program, in an environment of its own: it pins old versions of what cvl uses too. It may not be there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "cvl-benchmarks" / f"img2dataset-{_IMG2DATASET}" / "bin" / "img2dataset"


def install(packages: Mapping[str, str]) -> None:
    """Install the programs that are missing from Debian, where we are root and there is apt-get.

    Args:
        packages: Debian's, by the names of the programs.

    Raises:
        subprocess.CalledProcessError: an installation failed.
    """
    missing = [package for name, package in packages.items() if not program(name)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *command], env=environment, check=True)


def set_up() -> None:
    """Install what `fetch.py` compares with: Debian's packages, and img2dataset.

    Raises:
        subprocess.CalledProcessError: an installation failed.
    """
    install(_APT if nginx.PROGRAM is None else {name: _APT[name] for name in _APT if name != "nginx"})
    if not img2dataset().exists():
        folder = img2dataset().parent.parent
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, f"img2dataset=={_IMG2DATASET}"], check=True)
