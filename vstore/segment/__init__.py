"""Sealed documents and vectors, and the memtable in front of them."""
