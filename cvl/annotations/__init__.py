"""Instruction files, gigabytes of JSON, and the memory-mapped index by which verification and training read them.

`index_of` opens the index of a file, and builds it first if need be. `index` documents its format, `records` what can
be wrong with a record.
"""

from cvl.annotations.build import build_index, index_of
from cvl.annotations.index import AnnotationFile, Index, open_index
from cvl.annotations.records import FATAL, Problem

__all__ = ["FATAL", "AnnotationFile", "Index", "Problem", "build_index", "index_of", "open_index"]
