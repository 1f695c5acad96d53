"""Lists of many small files: a file of addresses, and what they lead to.

`expand` brings a list's files, `listing` reads it, `ledger` remembers what became of each address and `missing` tells
of those that gave nothing. `small` asks many at once: a host's addresses wait in `queues`, `asking` judges an answer,
`reasons` puts a failure in words, `handover` bounds what waits to be written, `filing` writes it.
"""
