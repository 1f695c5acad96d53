"""Who does the work is chosen at the edge; Ray is there only for who has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cvl
from cvl.errors import UsageError
from cvl.parallel import Engine, run_shards

WITHOUT_RAY = """
import sys
sys.modules["ray"] = None
from cvl.parallel import Engine, run_shards
try:
    run_shards(abs, [-1, 2], engine=Engine.RAY)
except Exception as error:
    print(type(error).__name__, error, error.hint, sep="|")
"""


def python(code: str) -> str:
    environment = {"PYTHONPATH": str(Path(cvl.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_without_ray_the_error_names_what_to_install() -> None:
    assert python(WITHOUT_RAY) == "UsageError|Ray is not installed|pip install 'cvl[ray]'"


def test_asking_for_engines_loads_neither_ray_nor_what_starts_processes() -> None:
    code = "import sys, cvl.parallel; print({'ray', 'multiprocessing', 'concurrent.futures'} & set(sys.modules))"
    assert python(code) == "set()"


def test_the_engine_of_this_machine_is_the_one_that_is_taken() -> None:
    assert run_shards(abs, [-1, 2], engine=Engine.LOCAL) == run_shards(abs, [-1, 2]) == [1, 2]


@pytest.mark.parametrize("engine", Engine)
def test_nothing_to_do_needs_no_engine(engine: Engine) -> None:
    assert run_shards(abs, [], engine=engine) == []


@pytest.mark.parametrize("engine", Engine)
def test_no_job_is_wrong_usage_whoever_works(engine: Engine) -> None:
    with pytest.raises(UsageError, match="0 jobs"):
        run_shards(abs, [1], jobs=0, engine=engine)
