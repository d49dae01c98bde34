"""What is in this file, and is it whole?

In: a store's file, as the storage floor opens it. Out: a `CheckReport` of the problems found, or
the manifest as plain data.

- Damage is reported, not raised: one broken block hides no other.
- Every block is read and hashed; then what the blocks of each readable epoch say of each other is
  compared.

Not here: repairing. Opening for writing mends what a crash left; nothing else repairs.
"""
