"""Search over arrays; no I/O."""
