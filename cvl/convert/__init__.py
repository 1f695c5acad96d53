"""Conversion of what was fetched into the form that the tree must have."""
