"""What the chapters share: the file, the corpus, both models, and what happened so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vstore.api.opening import open_store
from vstore.demo import tables
from vstore.demo.corpus import load_scifact
from vstore.demo.models import COLLECTION, NEW, OLD, new_model, old_model
from vstore.demo.quality import dual_read, single_read

if TYPE_CHECKING:
    from pathlib import Path

    from vstore.api.collection import Collection
    from vstore.api.store import Store
    from vstore.demo.corpus import ScifactDemo
    from vstore.demo.models import PrecomputedEmbedder
    from vstore.demo.narrator import Narrator
    from vstore.demo.process import Commit

CLAIM: Final = "Leuko-reduced blood reduces infectious complications in red blood cell transfusion."
STOPS: Final = (0.0, 0.10, 0.25, 0.30, 0.50, 0.75, 0.90, 1.0)  # coverages at which we measure
BATCH_SIZE: Final = 52  # 1 % of the documents, so that every stop falls on a commit


@dataclass(slots=True)
class Stage:
    """What the chapters share.

    Attributes
    ----------
    embedded : Counter of id
        How often each document was embedded by the new model, in any process.
    stops : dict of coverage to epoch
        The first commit at or behind each of `STOPS`.
    """

    path: Path
    tell: Narrator
    corpus: ScifactDemo
    old: PrecomputedEmbedder
    new: PrecomputedEmbedder
    embedded: Counter[str] = field(default_factory=Counter)
    stops: dict[float, int] = field(default_factory=dict)

    def open(self) -> Store:
        """Open the file as its writer, with both models at hand for text queries."""
        store = open_store(self.path)
        store.register_embedder(self.old)
        store.register_embedder(self.new)
        return store

    def reaches_stop(self, commit: Commit) -> bool:
        """Note the epoch of a commit that is the first at a stop."""
        share = commit.fresh / commit.live
        reached = [stop for stop in STOPS if share >= stop and stop not in self.stops]
        self.stops |= dict.fromkeys(reached, commit.epoch)
        return bool(reached)

    def tell_coverage(self, store: Store, epoch: int) -> None:
        """Ask all queries at an epoch, and tell how good the answers are."""
        papers = store.snapshot(epoch).collection(COLLECTION)
        alone = single_read(papers, self.corpus, OLD)
        both = dual_read(papers, self.corpus, "slots")
        self.tell.say(
            f"coverage {papers.coverage(NEW).share:4.0%}, epoch {epoch:3}: nDCG@10 "
            f"{alone.ndcg:.3f} from version 1 alone, {both.ndcg:.3f} from both"
        )

    def show_hits(self, papers: Collection) -> None:
        """Ask the claim, and show three hits."""
        result = papers.search(CLAIM, k=3)
        relevant = self.corpus.judgments[self.corpus.query_texts.index(CLAIM)]
        self.tell.show(tables.hits_table(result, relevant, encoding=self.tell.encoding))


def set_stage(path: Path, tell: Narrator) -> Stage:
    """Read the corpus and make the models."""
    corpus = load_scifact()
    return Stage(path, tell, corpus, old_model(corpus), new_model(corpus))
