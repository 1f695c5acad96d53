"""The embedded miniature: every source of the document in small, served on loopback in place of the real hosts."""
