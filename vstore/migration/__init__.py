"""How does a collection move from one embedding version to another?

`jobs` fills the new version, `bridges` maps queries between the two, `gates` measures what must
hold, and `routes` changes which version serves.

In: a `Handle`, labels of versions, and the caller's functions or judgments. Out: measurements, and
commits that each move a job, a route or a bridge by one step. The steps are pure functions (in
`manifest.job_edits` and `manifest.route_edits`); these packages measure, embed and commit.

Not here: a change of a route without an entry in the history, or a mix of two versions that nobody
requested.
"""
