"""``import vstore`` against ``import numpy``, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from benchmarks.measure import Comparison, alternate, report

ROUNDS, BOUND = 21, 1.2

OPEN_AND_ASK = """
import numpy as np, vstore
store = vstore.open(":memory:")
docs = store.create_collection("docs")
docs.create_version("v1", vstore.EmbeddingSpec("m", 3))
docs.upsert(["a"], vectors={"v1": np.ones((1, 3), np.float32)})
docs.search(np.ones(3, np.float32), version="v1")
"""


def fresh(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    seconds = alternate(
        {
            "import vstore": partial(fresh, "import vstore"),
            "import numpy": partial(fresh, "import numpy"),
            "open, write, search": partial(fresh, OPEN_AND_ASK),
        },
        rounds=ROUNDS,
    )
    baseline = seconds["import numpy"]
    rows = []
    for name, bound in (("import vstore", BOUND), ("open, write, search", None)):
        ratio = seconds[name] / baseline
        rows.append(
            Comparison(
                name,
                seconds[name] * 1e3,
                baseline * 1e3,
                "import numpy",
                "ms",
                f"<= {bound}" if bound else "(shown)",
                bound is None or ratio <= bound,
                ratio,
            )
        )
    report("import_time", "Wall time of a fresh process", rows)


if __name__ == "__main__":
    main()
