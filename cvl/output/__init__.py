"""What a person or a script sees: the only part of cvl that knows rich.

Data goes to stdout, everything else to stderr. Colour and live bars only where there is a terminal, and not where
`NO_COLOR` is set. With `--json`, stdout is JSON and nothing else.
"""
