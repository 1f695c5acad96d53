"""What a process frees stays with it, so that the next picture costs no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
import numpy as np
from cvl.memory import keep_memory
if {keep}:
    keep_memory()
def work():
    for _ in range(3):
        held = [np.ones(size << 20, np.uint8) for size in (13, 20, 28, 7)]
        del held
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
before = faults()
work()
print(faults() - before)
"""


def faults(*, keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", _FAULTS.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_a_process_that_keeps_its_memory_asks_the_system_for_little_more() -> None:
    assert faults(keep=True) * 4 < faults(keep=False)
