"""Bytes: files, blocks, superblocks, commits. The only layer that touches the OS."""
