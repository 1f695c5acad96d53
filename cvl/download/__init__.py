"""Fetch: from names to files in the tree.

`select` says which files are wanted, `survey` what is here, `plan` what is to do, and `run` does it: a file comes by
way of `transport` and lands in its `place`, unpacked by `archives` if it is one; what `lists` name is fetched then.
"""
