"""Are these vectors of this version's model?

In: vectors with a label or a stamp, and what the version has learnt of its own rows. Out: nothing,
an alarm, or an error that says what is wrong and what to do.

- `spec_check.py` compares labels and fingerprints. Every write and every query passes it; what does
  not fit is refused.
- The rest compares vectors with learnt directions, lengths and canary texts. Batches that are
  written are refused or flagged, queries are only flagged.
- Through a scoped handle an error tells nothing of rows outside the scope.

Not here: changing or dropping vectors, or choosing another version for them.
"""
