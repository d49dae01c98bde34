"""The last chapter: what readers got at each coverage, measured at the epochs of the backfill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.demo import tables
from vstore.demo.quality import Moment, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.demo.stage import Stage

_LEGEND: Final = {
    "v1 alone": "version 1, asked with its own model",
    "v2 alone": "version 2, asked with its own model; it finds what it has by then",
    "mixed": "not vstore: queries of the new model over one array of old and new vectors; "
    "the old ones are noise to them",
    "slots": "vstore's dual read, as in chapter 3",
    "evidence": "its other dual read, which weighs the scores of both versions",
    "explicit": "share of the dual reads that were answered from both versions, as planned",
    "silent": "share of all reads that were answered from both versions without a plan",
}


def measure_moments(stage: Stage) -> list[Moment]:
    """Go back to the epochs at which the backfill reached the stops, and measure each."""
    moments = []
    with stage.tell.bar("measure", len(stage.stops)) as bar:
        for epoch in stage.stops.values():
            moments.append(measure(stage.path, epoch, stage.corpus))
            bar.reach(len(moments))
    return moments


def balance(stage: Stage, moments: Sequence[Moment]) -> None:
    """Show what readers got at each coverage."""
    tell = stage.tell
    tell.chapter("What readers got on the way")
    tell.say(
        f"All {len(stage.corpus.query_ids)} claims, asked at the epochs at which the backfill "
        "reached these coverages. (Until the vacuum the file could be opened at any of them.)"
    )
    tell.say("")
    tell.show(tables.legend(_LEGEND))
    tell.say("")
    tell.show(tables.ndcg_table(moments))
    tell.say("")
    tell.show(tables.recall_table(moments))
    tell.say("")
    tell.say(_verdict(moments))


def _verdict(moments: Sequence[Moment]) -> str:
    """Say in words what the numbers say, whatever that is."""

    def margin(moment: Moment, method: str) -> float:
        return moment.quality[method].ndcg - moment.quality["v1 alone"].ndcg

    least = min(margin(moment, "slots") for moment in moments)
    slots = "never answers worse" if least >= 0 else f"answers worse by up to {-least:.3f}"
    end = moments[-1].quality
    worse = [moment for moment in moments if margin(moment, "mixed") < 0]
    deepest = max((-margin(moment, "mixed") for moment in worse), default=0.0)
    still = max((moment.coverage for moment in worse), default=0.0)
    silent = max(moment.silent for moment in moments)
    same = "exactly as" if end["slots"] == end["v2 alone"] else "not as"
    return (
        f"On average slots {slots} than version 1, and at {moments[-1].coverage:.0%} coverage it "
        f"is {same} good as version 2. Evidence ends at {end['evidence'].ndcg:.3f}, version 2 "
        f"alone at {end['v2 alone'].ndcg:.3f}: two models know more than one. Mixing loses what "
        f"is not migrated yet: up to {still:.0%} coverage it is worse than version 1, at first by "
        f"{deepest:.3f}. Answers of vstore that mixed versions silently: {silent:.1%}."
    )
