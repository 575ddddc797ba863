"""Exit codes that are not those of an error."""

INTERRUPTED = 130
"""Ctrl-C, as shells expect it: 128 and the number of the signal."""
