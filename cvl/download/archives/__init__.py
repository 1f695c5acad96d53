"""What an archive holds, brought to files: its kinds, its names, its damage. `unpack` puts it together.

`names` says what lands where, and refuses what must not. `directory` and `zips` read zips; `stream`, `blocks`,
`headers` and `tars` read tars, and `writer` brings their members to the disk. `landing` writes a file that is whole or
absent, `crew` does so on every core, and `outcome` counts what came and names what is lost.
"""
