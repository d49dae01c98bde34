"""Nodes of plans and of filters: frozen, without a dictionary, and equal only to their own kind."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
from typing import Any, get_args

import pytest

from vstore.query import filter_tree, plan
from vstore.query.filter_tree import Filter

PLAN_NODES: list[type] = [*get_args(plan.PlanNode), plan.FilteredGraphSearch]
FILTERS: list[type] = [
    kind
    for kind in vars(filter_tree).values()
    if isinstance(kind, type) and issubclass(kind, Filter) and not kind.__name__.startswith("_")
    if kind is not Filter
]
LEAF = filter_tree.Exists("f")


def plan_node(kind: Any) -> Any:
    """Return a node whose fields are the same numbers in every kind that has as many."""
    return kind(*range(len(dataclasses.fields(kind))))


def filter_node(kind: Any) -> Any:
    """Return a node whose fields are as alike as the kinds allow."""
    if kind is filter_tree.Not:
        return kind(LEAF)
    if issubclass(kind, filter_tree.And | filter_tree.Or):
        return kind((LEAF,))
    return kind(*("f", "==", "f")[: len(dataclasses.fields(kind))])


NODES = [*map(plan_node, PLAN_NODES), *map(filter_node, FILTERS)]
each = pytest.mark.parametrize("node", NODES, ids=[type(node).__name__ for node in NODES])


def test_all_kinds_are_here() -> None:
    names = {kind.__name__ for kind in PLAN_NODES}
    assert {"FlatScan", "GraphSearch", "FilteredGraphSearch", "CodeScan", "DualRead"} <= names
    assert {"Comparison", "IsIn", "And", "Or", "Not"} <= {kind.__name__ for kind in FILTERS}


def test_two_kinds_are_never_equal() -> None:
    for one, other in itertools.combinations(NODES, 2):
        assert one != other
        assert len({one, other}) == 2


@each
def test_a_node_equals_a_copy_of_it_and_no_tuple(node: Any) -> None:
    values = tuple(getattr(node, field.name) for field in dataclasses.fields(node) if field.init)
    again = type(node)(*values)
    assert again == node
    assert hash(again) == hash(node)
    assert node != values
    for copied in (copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        assert copied == node
        assert type(copied) is type(node)


@each
def test_a_node_cannot_be_changed(node: Any) -> None:
    name = dataclasses.fields(node)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(node, name, "other")
    assert not hasattr(node, "__dict__")
