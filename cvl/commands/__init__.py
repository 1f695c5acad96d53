"""The commands, one function each: parse, call one function, print. Each imports what it needs when it runs."""
