"""The process that is killed: a backfill that says on stdout what it does, one JSON object a line.

    python -m vstore.demo.child STORE BATCH_SIZE PACE_S

``{"embedded": [ids]}`` when the model is done with a batch, and ``{"epoch": .., "fresh": ..,
"live": ..}`` when the batch is committed. Each commit wants a line on stdin in return; the process
runs ahead of them by a few batches only, and ends where they end.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Final

from vstore.api.opening import open_store
from vstore.demo.corpus import load_scifact
from vstore.demo.models import COLLECTION, NEW, document_texts, new_model
from vstore.embedding.embedder import Embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.segment.user_document import Document

_AHEAD: Final = 8  # batches; so a slow parent still finds it half way
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str]) -> int:
    """Fill version 2 until nothing is left, or until killed."""
    path, batch_size, pace_s = arguments[0], int(arguments[1]), float(arguments[2])
    corpus = load_scifact()
    model, texts = new_model(corpus), document_texts(corpus)
    text_of = dict(zip(corpus.document_ids, texts, strict=True))

    def embed(documents: Sequence[Document]) -> Embeddings:
        time.sleep(pace_s)  # a model would take longer
        ids = [str(document.id) for document in documents]
        vectors = model.embed_documents([text_of[id_] for id_ in ids])
        _say(embedded=ids)
        return Embeddings(model.spec, vectors)

    with open_store(path) as store:
        first_epoch = store.epoch + 1

        def committed(fresh: int, live: int) -> None:
            _say(epoch=store.epoch, fresh=fresh, live=live)
            if store.epoch - first_epoch >= _AHEAD and not sys.stdin.readline():
                sys.exit("nobody listens any more")

        store.collection(COLLECTION).migration.backfill(
            NEW, embed, batch_size=batch_size, progress=committed
        )
    return 0


def _say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
