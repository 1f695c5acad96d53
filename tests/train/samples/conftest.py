"""Fixtures of the tests of samples."""

from __future__ import annotations

import pytest
from instructions import OwnData

from cvl.root import Root


@pytest.fixture
def own(tree: Root) -> OwnData:
    """A tree for instruction files and pictures of the test's own."""
    return OwnData(tree)
