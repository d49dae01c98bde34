"""The public API: stores, collections, transactions, snapshots."""
