"""What does a user hold? `Store`, `Collection`, `Transaction`, `Reader`, and how a file is opened.

In: what a program passes, of any type. Out: documents, vectors, results and reports, frozen or
copied. A method checks its switches, and calls one function of a room below with the collection's
`Handle`. A handle on an older epoch refuses writes; a scoped one sees and changes its part alone.

Not here: how anything is done. No verb of this package opens a block, scores a row or edits a
state; `commit_steps.py` alone names what every commit of documents does besides.
"""
