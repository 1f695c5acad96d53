"""Fetch: from names to files in the tree.

`select` says which files are wanted, `survey` what is here, `plan` what is to do, and `run` does it:
transfer (by the scheme's transport), check, unpack, receipt.
"""
