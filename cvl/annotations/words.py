"""How many words there are in many texts: the measure of length that grouping by modality goes by.

A word is what `str.split` makes of a text. Splitting makes an object of every word; over a file of gigabytes that took
more time than all the rest of its indexing, so texts of plain ASCII are counted together, by numpy. The others, with
their many kinds of white space, are split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def words_in(groups: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """For each group of texts, the sum of `len(text.split())` over them."""
    counts = _words([text for texts in groups for text in texts])
    totals = np.append(0, np.cumsum(counts))
    bounds = np.append(0, np.cumsum([len(texts) for texts in groups], dtype=np.int64))
    sums: NDArray[np.int64] = np.diff(totals[bounds])
    return sums


def _words(texts: Sequence[str]) -> NDArray[np.int64]:
    plain = [text if text.isascii() else "" for text in texts]
    # A line feed before each text, so that the first word too begins after a blank, and no word lies in two texts.
    codes = np.frombuffer("\n".join(["", *plain, ""]).encode("ascii"), dtype=np.uint8)
    # The ASCII that `str.isspace` names: the space, 9 to 13 and 28 to 31. What is below them wraps to a high number.
    blank = (codes == 32) | (codes - np.uint8(9) <= 4) | (codes - np.uint8(28) <= 3)
    before_word = np.flatnonzero(blank[:-1] & ~blank[1:])
    bounds = np.append(0, np.cumsum([len(text) + 1 for text in plain], dtype=np.int64))
    counts = np.diff(np.searchsorted(before_word, bounds))
    for position, text in enumerate(texts):
        if not text.isascii():
            counts[position] = len(text.split())
    return counts
