"""Fetching: `cvl fetch` against the programs that people use, from real servers on loopback.

    python benchmarks/fetch.py --set-up
    python benchmarks/fetch.py --scenario big small --rounds 7 --output figures.json

Every contender is a whole process at its shipped defaults, from its start to its end. They take turns in one run, and
each one's result is compared to the byte with what the server has. Contenders whose program checks no digest by itself
are followed by `sha256sum`, where a digest is known. Prints a table for each scenario: medians over the rounds, peak
memory of the largest process, and how many times as fast as each one ours is, which is the median over the rounds of
(its time / our time). A program that is not installed has a line that says so; `--set-up` installs it.
"""

from __future__ import annotations

import sys

from contest import many, peers, single
from contest.command import Contest
from contest.sizes import TINY, Sizes

FETCHING = Contest(
    description="`cvl fetch` against the programs that people use, on loopback.",
    scenarios={
        "big": single.big,
        "limited": single.limited,
        "hub": single.hub,
        "drive": single.drive,
        "small": many.small,
        "ledger": many.ledger,
    },
    sizes=Sizes(),
    tiny=TINY,
    set_up=peers.set_up,
)

if __name__ == "__main__":
    sys.exit(FETCHING.run())
