"""Every bound in one place, with its unit and its reason.

A loop over bytes from disk runs at most as often as one of these says; a value above its bound
is a `LimitExceededError` when it comes from a caller and a `CorruptionError` when it comes from a
file.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# What a user may store.
DIMENSION_MAX: Final = 65_535  # fits u16 in any index; no published model comes near
ID_BYTES_MAX: Final = 1 * KIB  # UTF-8; longer keys are content, hash them
INT_ID_MIN: Final = -(2**63)
INT_ID_MAX: Final = 2**63 - 1
NAME_BYTES_MAX: Final = 255  # collection names, version labels, field names, tags: UTF-8
METADATA_BYTES_MAX: Final = 1 * MIB  # one document's metadata, packed
TEXT_BYTES_MAX: Final = 64 * MIB  # one document's text, UTF-8
REASON_BYTES_MAX: Final = 4 * KIB  # notes that people leave in the history
FIELDS_MAX: Final = 1_024  # typed metadata fields of a collection
COLLECTIONS_MAX: Final = 4_096
VERSIONS_MAX: Final = 1_024  # of one collection
ROUTES_MAX: Final = 65_536  # of one collection: the default one, and tenants' own
ROUTE_KEY_BYTES_MAX: Final = 1 * KIB  # a field's name, "=", and a value: UTF-8
ROUTE_CHANGES_MAX: Final = 64  # rollbacks that a route remembers
GATES_MAX: Final = 64  # whose findings a route keeps
BRIDGES_MAX: Final = 1_024  # of one collection, and rules chosen for dual reads
CURVE_POINTS_MAX: Final = 4_096  # of a fitted curve
RULES_MAX: Final = 64  # whose quality is kept with a choice
DEAD_LETTERS_MAX: Final = 100_000  # of one job: then something is wrong with the job
ERROR_BYTES_MAX: Final = 512  # of an embedding function, as a dead letter keeps it: UTF-8
CANARIES_MAX: Final = 64  # texts of a version; a handful tells, and each is embedded again
CANARY_BYTES_MAX: Final = 16 * KIB  # of one of them: UTF-8; longer than any model reads
EXTRAS_MAX: Final = 1_024  # free identity fields of one EmbeddingSpec
TAGS_MAX: Final = 4_096
EQUIVALENCES_MAX: Final = 4_096
DOCUMENTS_MAX: Final = 2**32 - 1  # docno is u32, the last value means "none"
SEGMENT_ROWS_MAX: Final = 2**32 - 1  # row numbers inside a segment are u32
CHUNKS_MAX: Final = 65_536  # rows of one document in one version
FILTER_NODES_MAX: Final = 10_000  # of one filter expression; deeper trees come from attackers
FILTER_DEPTH_MAX: Final = 64
K_MAX: Final = 1_000_000  # hits of one query
EF_MAX: Final = 1_000_000  # candidates of a graph search: as many as hits
THREADS_MAX: Final = 1_024
POOL_MAX: Final = 10_000  # of a search; its pool is kept by insertion, beyond that a scan is faster
GRAPH_M_MIN: Final = 4  # links of a node; with fewer, graphs fall apart
GRAPH_M_MAX: Final = 256

# What a file may make us read.
MANIFEST_BYTES_MAX: Final = 64 * MIB  # one commit block; also the largest msgpack message
SEGMENT_HEADER_BYTES_MAX: Final = 16 * MIB
BLOCK_BYTES_MAX: Final = 1 << 44  # 16 TiB, ext4's largest file
SEGMENTS_MAX: Final = 65_536  # per collection or version; compaction keeps it near 30
ARRAYS_MAX: Final = 16_384  # named arrays of one segment
ARRAY_NAME_BYTES_MAX: Final = 512  # "field." + a field's name + "." + a part: UTF-8
NESTING_MAX: Final = 64  # of msgpack values
DELTA_CHAIN_MAX: Final = 2_048  # deltas between two full manifests: bounds the reopening time
HISTORY_MAX: Final = 1_000_000  # commits walked for history and old epochs

# When the writer seals and merges.
SEAL_DOCUMENTS: Final = 1_024  # memtable entries; a reopen replays at most these
SEAL_BYTES: Final = 4 * MIB  # memtable payload, likewise
SEAL_COMMITS: Final = 1_024  # deltas, likewise
MERGE_FANOUT: Final = 8  # segments of one tier before they become one: 10,000 commits cost < 3x
DEAD_SHARE_MAX: Final = 0.5  # of a segment's rows, before it is written without them
VIEW_BYTES_MIN: Final = 64 * KIB  # smaller blocks are read, larger ones mapped
WINDOW_BYTES_MIN: Final = 1 * MIB  # of address space: what a file is mapped by at least
STREAM_BYTES: Final = 16 * MIB  # piece size when a merged array is written

# What a handle counts of its searches.
METRIC_SLICES_MAX: Final = 2_048  # some 2 KiB each; what finds no slice is counted as "other"
METRIC_EVENTS_MAX: Final = 256  # names of events
METRIC_EPOCHS_MAX: Final = 16  # buckets of epochs, which widen: each multiplies the slices
