"""Trees to train on, and one that was trained on by the command line."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bench import EPOCHS, ZERO, Typed, command_line, finish, folder_of, ten_steps, train_here, zero_run
from filelock import FileLock
from support import Done
from transformers import ConvNextConfig, LlamaConfig
from workshop import Workshop, build_workshop, workshop_at

from cvl.__main__ import main
from cvl.train.folder import StageFolder
from cvl.train.model import ConvLlava, ConvLlavaConfig


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Keeps the tests that run at the same time out of each other's way: these models are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A tree of its own, to train on and to break."""
    return build_workshop(tmp_path)


@pytest.fixture(scope="session")
def journey(shared: Path) -> Workshop:
    """A tree on which the command line trained all three stages, as `tiny`. Other runs may be added; it must stay."""
    folder = shared / "journey"
    with FileLock(shared / "journey.lock"):
        if not (folder / "travelled").exists():
            _travel(build_workshop(folder))
            (folder / "travelled").touch()
    return workshop_at(folder)


def _travel(shop: Workshop) -> None:
    cvl = command_line(shop, shop.root.path.parent)
    for stage in (1, 2, 3):
        done = cvl("train", "--stage", str(stage), "--model", "tiny")
        assert done.code == 0, done.stderr


@pytest.fixture(scope="session")
def zero_runs(journey: Workshop, shared: Path) -> Workshop:
    """The tree, on which the command line trained both kinds of ZeRO on one process and on two."""
    cvl = command_line(journey, shared)
    with FileLock(shared / "zero.lock"):
        for processes in (1, 2):
            wanted = {zero: zero_run(journey, zero, processes) for zero in ZERO}
            begun = [
                cvl.start(*ten_steps(journey, zero, processes, folder.path.parent.name))
                for zero, folder in wanted.items()
                if not folder.is_done
            ]
            ended = [finish(process) for process in begun]
            assert [done.code for done in ended] == [0] * len(begun), "".join(done.stderr for done in ended)
    return journey


@pytest.fixture(scope="session")
def plain(journey: Workshop, shared: Path) -> StageFolder:
    """The same stage without ZeRO, trained in this process alone."""
    folder = folder_of(journey, "plain", 2)
    with FileLock(shared / "plain.lock"):
        train_here(journey, 2, EPOCHS, name="plain", start=folder_of(journey, "tiny", 1).path)
    return folder


@pytest.fixture(scope="module")
def tiny() -> ConvLlava:
    """The smallest model that has every part."""
    text = LlamaConfig(
        vocab_size=1000, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    tower = ConvNextConfig(num_stages=5, depths=[1, 1, 1, 1, 1], hidden_sizes=[4, 8, 16, 24, 32])
    return ConvLlava(ConvLlavaConfig(text_config=text, vision_config=tower, resolution=64))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    """Runs `cvl ARGUMENTS` on a tree in this process, which has torch already."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(shop: Workshop, *arguments: str | Path, stdin: str = "") -> Done:
        monkeypatch.setenv("CVL_ROOT", str(shop.root.path))
        monkeypatch.setenv("CVL_MANIFESTS", str(shop.manifests))
        monkeypatch.setattr(sys, "argv", ["cvl", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capsys.readouterr())

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
