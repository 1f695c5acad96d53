"""The options of the command line: what each is called, what it takes, and what its help says."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_ROOT = Path("ShareGPT4V")
DEFAULT_DEMO = Path("cvl-demo")
DEFAULT_MODEL = "7b-768"


class Form(StrEnum):
    """The forms that a checkpoint can be exported in."""

    CONVLLAVA = "convllava"
    HF = "hf"


class Depths(StrEnum):
    """How closely pictures can be looked into."""

    QUICK = "quick"
    FULL = "full"


class Engines(StrEnum):
    """Who can do the work of many cores."""

    LOCAL = "local"
    RAY = "ray"


class Precision(StrEnum):
    """What an exported checkpoint's tensors are written in."""

    BF16 = "bf16"
    FP32 = "fp32"


# Of every command.
Root = Annotated[Path, typer.Option("--root", envvar="CVL_ROOT", help="The tree's root, the document's ShareGPT4V/.")]
Manifests = Annotated[
    Path | None,
    typer.Option("--manifests", envvar="CVL_MANIFESTS", help="A folder of your own manifests, laid over ours by name."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]

# Of several.
Stage = Annotated[int | None, typer.Option("--stage", help="Only what this stage needs: 1, 2 or 3.")]
ReportPage = Annotated[
    Path | None, typer.Option("--report", help="Write what was found as one page for a browser.", metavar="FILE")
]
Version = Annotated[bool, typer.Option("--version", help="Print the version and exit.")]

# Of `cvl sources`.
Listed = Annotated[list[str] | None, typer.Argument(help="Sources; all if none is named.", metavar="NAME")]

# Of `cvl fetch`.
Fetched = Annotated[
    list[str] | None,
    typer.Argument(help="Sources, or `all` for everything that the stages need.", metavar="NAME"),
]
Shards = Annotated[
    list[str] | None, typer.Option("--shards", help="Shards of a sharded source, inclusive: 0-50, or sam=0-2.")
]
PlanOnly = Annotated[bool, typer.Option("--dry-run", help="Show the plan; move and write nothing.")]
Downloads = Annotated[
    Path | None,
    typer.Option(
        "--from",
        exists=True,
        file_okay=False,
        help="A folder of files that you downloaded yourself; they are used in place.",
    ),
]
SamLinks = Annotated[
    Path | None,
    typer.Option("--sam-links", envvar="CVL_SAM_LINKS", help="Meta's list of links; default: ROOT/sam-links.txt."),
]
SkipGated = Annotated[bool, typer.Option("--skip-gated", help="Go on without sources that ask something first.")]
Mirrors = Annotated[list[str] | None, typer.Option("--mirror", help="Use this opt-in mirror, before all else.")]
Alternatives = Annotated[list[str] | None, typer.Option("--alternative", help="Other bytes for a source: ocrvqa=urls.")]
AcceptDigest = Annotated[
    bool, typer.Option("--accept-digest", help="Take files whose single-source digest differs at the right size.")
]
KeepArchives = Annotated[bool, typer.Option("--keep-archives", help="Keep archives after unpacking them.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask addresses again that were given up for good.")]
InFlight = Annotated[int, typer.Option("--jobs", min=1, help="Files in flight at once.")]
Retries = Annotated[int, typer.Option("--retries", min=1, help="Failures in a row before a file is given up.")]

# Of `cvl convert`.
Converted = Annotated[list[str], typer.Argument(help="Sources whose pictures are to become JPEGs.", metavar="NAME")]
LookOnly = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
RemoveOriginals = Annotated[bool, typer.Option("--remove-originals", help="Delete originals whose JPEG is whole.")]
WaitForLinks = Annotated[
    bool | None,
    typer.Option(
        "--wait-for-links/--no-wait-for-links",
        help="Once signed links have expired, wait for a fresh list; default: in a terminal.",
    ),
]
ConnectionCount = Annotated[
    int, typer.Option("--connections", min=1, help="At once, over all files; a host that complains gets fewer.")
]
LimitRate = Annotated[
    str | None, typer.Option("--limit-rate", help="Bytes a second over all: 500k, 10M, 1.5G.", metavar="RATE")
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds without a byte after which a connection is given up.")
]
Locked = Annotated[bool, typer.Option("--locked", help="Fetch only what ROOT/cvl.lock names, and exactly that.")]
Processes = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes to use; default: one a core.")]

Quarantine = Annotated[
    Path | None,
    typer.Option(
        "--quarantine",
        help="Move what cannot be read there, under its path in data/; nothing is deleted.",
        metavar="DIR",
    ),
]
Thorough = Annotated[bool, typer.Option("--thorough", help="Decode the JPEGs too, strictly and to the last byte.")]
Share = Annotated[
    str | None, typer.Option("--part", help="Only this share of the work, as in a Slurm array: 3/8.", metavar="I/N")
]
Unpacker = Annotated[Engines, typer.Option("--engine", help="Who unpacks: this machine, or a Ray cluster.")]
EngineChoice = Annotated[Engines, typer.Option("--engine", help="Processes of this machine, or a Ray cluster.")]

# Of `cvl verify-layout`.
Decode = Annotated[Depths | None, typer.Option("--decode", help="Decode every picture that is named, too.")]
ReferencesOnly = Annotated[
    bool, typer.Option("--references-only", help="Look only whether the pictures that are named are there.")
]
Fix = Annotated[bool, typer.Option("--fix", help="Put known mistakes right: show them, ask in a terminal, rename.")]
Yes = Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")]
Undo = Annotated[bool, typer.Option("--undo", help="Take the last --fix back.")]
ShowOnly = Annotated[bool, typer.Option("--dry-run", help="With --fix: show what would be done; rename nothing.")]

# Of `cvl train`.
Trained = Annotated[int, typer.Option("--stage", help="The stage to train: 1, 2 or 3.")]
Model = Annotated[str, typer.Option("--model", help="The model's size, by the name of its manifest.")]
Name = Annotated[
    str | None, typer.Option("--name", help="Of the run: ROOT/checkpoints/NAME holds it; default: the model's.")
]
Start = Annotated[str | None, typer.Option("--from", help="Start from this checkpoint: a folder, or a hub repository.")]
VisionTower = Annotated[
    str | None, typer.Option("--vision-tower", help="Where a published checkpoint's vision tower lies.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: learning_rate=1e-5, train=+lm_head, data=-vflan.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of the order of records and of fresh parts.")]
FastDecode = Annotated[
    bool, typer.Option("--fast-decode", help="Decode large JPEGs at a smaller scale; pixels differ slightly.")
]
Ranks = Annotated[
    int | None, typer.Option("--processes", min=1, help="On this machine; default: one a GPU, one without any.")
]
Hostfile = Annotated[Path | None, typer.Option("--hostfile", help="Machines to run on, as DeepSpeed reads them.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what this run has trained, and begin anew.")]
Inspect = Annotated[int | None, typer.Option("--inspect", min=1, help="Show so many samples as the model sees them.")]

# Of `cvl chat` and `cvl export`.
Checkpoint = Annotated[str, typer.Argument(help="A folder, or a hub repository.", metavar="CHECKPOINT")]
Prompt = Annotated[str | None, typer.Argument(help="The question.", metavar="PROMPT")]
Image = Annotated[Path | None, typer.Option("--image", help="The picture to talk about.")]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="The longest answer.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0, help="0 takes the likeliest word each time.")]
Target = Annotated[Path, typer.Argument(help="The folder to write; it must not be there yet.", metavar="FOLDER")]
FormOption = Annotated[Form, typer.Option("--format", help="The published layout, or one self-contained folder.")]
PrecisionOption = Annotated[Precision | None, typer.Option("--precision", help="Of the tensors; default: as it is.")]

# Of `cvl demo`.
Folder = Annotated[Path, typer.Argument(help="Where the miniature lives; run again, it goes on.")]
Seeds = Annotated[int, typer.Option("--seeds", min=0, help="Models to train, a seed each; 0 is the data half alone.")]
Record = Annotated[Path | None, typer.Option("--record", help="Keep a picture of the terminal, as SVG.")]
