"""One file from one of its addresses, whole and proven.

`transfer` tries address after address. `http`, `hub`, `drive` and `openxlab` know what each kind of address asks for,
`answers` which answers may be used. `swarm` brings the bytes, in `segment`s over `connections`, through `wire`; `part`,
`journal` and `ranges` hold what is here of them, and `check` proves the whole. `policy`, `mirrors` and `throttle` say
when to try again, where else, and how fast.
"""
