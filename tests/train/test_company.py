from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from bench import PATIENCE

from cvl.manifest import Scripts
from cvl.train.company import any_of, company, led, meet
from cvl.train.launch import _environments
from cvl.train.ranks import ALONE

PLAIN = Scripts(deepspeed="none")

# What each of two processes does: only the second has a wish, and only the first works, and fails.
PROCESS = """
import os, sys
import torch
from cvl.errors import UsageError
from cvl.manifest import Scripts
from cvl.train.company import any_of, company, led, meet
from cvl.train.ranks import rank_of
rank = rank_of(os.environ)
def refuse():
    raise UsageError("no data")
with company(rank, Scripts(deepspeed="none")):
    meet()
    wishes = [any_of(wish, torch.device("cpu")) for wish in (False, rank.number == 1, True)]
    print(rank.number, wishes, led(rank, lambda: f"work of {rank.number}"), flush=True)
    try:
        led(rank, refuse)
    except UsageError as error:
        sys.exit(error.exit_code)
"""


def test_a_process_alone_joins_nobody() -> None:
    with company(ALONE, PLAIN):
        assert not torch.distributed.is_initialized()
        meet()


@pytest.mark.parametrize("wish", [True, False])
def test_a_process_alone_has_its_own_wishes(wish: bool) -> None:
    assert any_of(wish, torch.device("cpu")) is wish


def test_several_agree_and_the_first_works_and_fails_for_all() -> None:
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for env in _environments(2)
    ]
    said = [process.communicate(timeout=PATIENCE) for process in begun]
    # Who did not work ends without a word, with the same code.
    assert said == [("0 [False, True, True] work of 0\n", ""), ("1 [False, True, True] None\n", "")]
    assert [process.returncode for process in begun] == [2, 2]


def test_a_process_alone_leads() -> None:
    def refuse() -> None:
        raise ValueError("a mistake")

    assert led(ALONE, lambda: 3) == 3
    with pytest.raises(ValueError, match="a mistake"):
        led(ALONE, refuse)


def test_company_is_left_when_the_run_fails() -> None:
    with pytest.raises(ValueError, match="a mistake"), company(ALONE, PLAIN):
        raise ValueError("a mistake")
    assert not torch.distributed.is_initialized()
