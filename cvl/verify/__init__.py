"""Verify: does the document's tree stand, and does every picture that an instruction file names exist in it."""
