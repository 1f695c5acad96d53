"""Work on every core, of this machine or of a cluster: a picklable function over a list of shards.

`run_shards` is all that its callers know; an `Engine` says who does the work. A `Part` is a share of the work for one
of several commands that know nothing of each other, as in a Slurm array.
"""

from __future__ import annotations

from cvl.parallel.engine import Engine, prepare, ready, run_shards
from cvl.parallel.part import WHOLE, Part
from cvl.parallel.shards import cores, shards_of

__all__ = ["WHOLE", "Engine", "Part", "cores", "prepare", "ready", "run_shards", "shards_of"]
