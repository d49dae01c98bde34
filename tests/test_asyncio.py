"""Coroutines: each call in a thread from its beginning to its end, and a clear word otherwise."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import vstore
from tests.small_store import OLD, axis, documents, rows


def test_two_tasks_with_a_transaction_each_are_told_what_to_do() -> None:
    docs = documents()
    messages: list[str] = []

    async def write(name: str) -> None:
        try:
            with docs.store.transaction() as tx:
                tx.upsert(docs, [name])
                await asyncio.sleep(0)
        except vstore.StateError as error:
            messages.append(str(error))

    async def both() -> None:
        await asyncio.wait_for(asyncio.gather(write("a"), write("b")), 30)

    asyncio.run(both())
    assert docs.ids() == ["a"]
    (message,) = messages
    assert "asyncio.to_thread" in message
    assert "await" in message
    docs.upsert(["c"])  # nothing is left behind


def test_a_write_beside_a_transaction_of_another_task_waits_in_a_thread() -> None:
    docs = documents()

    async def write() -> None:
        with docs.store.transaction() as tx:
            tx.upsert(docs, ["a"])
            with pytest.raises(vstore.StateError, match="to_thread"):
                docs.upsert(["b"])  # of the same thread
            waiting = asyncio.create_task(asyncio.to_thread(docs.upsert, ["c"]))
            await asyncio.sleep(0)
        await asyncio.wait_for(waiting, 30)

    asyncio.run(write())
    assert docs.ids() == ["a", "c"]


def test_writes_and_searches_run_in_threads() -> None:
    docs = documents()
    docs.upsert(["first"], vectors={OLD: axis(0)[None]})

    def replace(name: str) -> int:
        with docs.store.transaction() as tx:
            tx.delete(docs, [name])
            tx.upsert(docs, [f"{name} again"], vectors={OLD: rows(1)})
        return docs.store.epoch

    async def work(number: int) -> bool:
        name = f"document {number}"
        await asyncio.to_thread(docs.upsert, [name], vectors={OLD: rows(1, seed=number + 1)})
        found = await asyncio.to_thread(docs.search, axis(0), version=OLD, k=1)
        await asyncio.to_thread(replace, name)
        return found.ids == ["first"] and bool(np.isclose(found[0].score, 1))

    async def every() -> list[bool]:
        return await asyncio.wait_for(asyncio.gather(*map(work, range(12))), 60)

    assert all(asyncio.run(every()))
    assert len(docs) == 13
    assert docs.store.check().ok


def test_a_cancelled_task_leaves_nothing_behind() -> None:
    docs = documents()

    async def write() -> None:
        with docs.store.transaction() as tx:
            tx.upsert(docs, ["a"])
            await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(write())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert docs.ids() == []
    docs.upsert(["b"])
    assert docs.ids() == ["b"]
