from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from bench import PATIENCE

from cvl.manifest import Scripts
from cvl.train.company import any_of, company, meet
from cvl.train.launch import _environments
from cvl.train.ranks import ALONE

PLAIN = Scripts(deepspeed="none")

# What one of two processes does: only the second has the wish, and both get to know.
PROCESS = """
import os
import torch
from cvl.manifest import Scripts
from cvl.train.company import any_of, company, meet
from cvl.train.ranks import rank_of
rank = rank_of(os.environ)
with company(rank, Scripts(deepspeed="none")):
    meet()
    wishes = [any_of(wish, torch.device("cpu")) for wish in (False, rank.number == 1, True)]
    print(rank.number, torch.distributed.get_world_size(), wishes, flush=True)
assert not torch.distributed.is_initialized()
"""


def test_a_process_alone_joins_nobody() -> None:
    with company(ALONE, PLAIN):
        assert not torch.distributed.is_initialized()
        meet()


@pytest.mark.parametrize("wish", [True, False])
def test_a_process_alone_has_its_own_wishes(wish: bool) -> None:
    assert any_of(wish, torch.device("cpu")) is wish


def test_several_agree_on_what_one_of_them_wishes() -> None:
    begun = [
        subprocess.Popen([sys.executable, "-c", PROCESS], env=environment, stdout=subprocess.PIPE, text=True)
        for environment in _environments(2)
    ]
    said = [process.communicate(timeout=PATIENCE)[0] for process in begun]
    assert said == ["0 2 [False, True, True]\n", "1 2 [False, True, True]\n"]
    assert [process.returncode for process in begun] == [0, 0]


def test_company_is_left_when_the_run_fails() -> None:
    with pytest.raises(ValueError, match="a mistake"), company(ALONE, PLAIN):
        raise ValueError("a mistake")
    assert not torch.distributed.is_initialized()
