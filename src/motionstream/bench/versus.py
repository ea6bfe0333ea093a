"""Two engines in turn in one process: rounds of a few chunks each, so that whatever slows the machine slows both."""

from __future__ import annotations

import statistics
import time
from typing import Any

from tqdm import tqdm

from motionstream.bench.contestants import Contestant, Ours
from motionstream.bench.naive import Naive
from motionstream.bench.stream import summary
from motionstream.bench.whole import Whole
from motionstream.stream.engine import StreamEngine
from motionstream.stream.session import ChunkStats

RIVALS: dict[str, type[Naive] | type[Whole]] = {"naive": Naive, "diffusers": Whole}
WHAT = {
    "naive": "the same weights streamed as public engines do it (bench/naive.py says how)",
    "diffusers": "WanTransformer3DModel with random weights, given the visible context again in every step; our decoder",
}
ROUND_CHUNKS = 4


def measure_versus(engine: StreamEngine, name: str, rounds: int) -> dict[str, Any]:
    """``rounds`` rounds of ``ROUND_CHUNKS`` chunks of ours and of rival ``name``, in turn, after one unmeasured round each.

    Returns:
        ``vs``: what the rival is, both summaries, and ratios rival / ours of the medians of a chunk: over all chunks, and
        the smallest and largest of a round.

    Raises:
        ValueError: the rival is unknown or its library is not installed.
    """
    if name not in RIVALS:
        raise ValueError(f"--vs {name} is unknown: use one of {', '.join(RIVALS)}")
    ours, rival = Ours(engine), RIVALS[name](engine)
    contestants: list[Contestant] = [ours, rival]
    taken: dict[str, list[list[ChunkStats]]] = {one.name: [] for one in contestants}
    wall_s = dict.fromkeys(taken, 0.0)
    try:
        for number in tqdm(range(rounds + 1), desc=f"rounds against {name}", mininterval=2):
            for one in contestants:
                begun = time.perf_counter()
                rows = [one.chunk() for _ in range(ROUND_CHUNKS)]
                engine.synchronize()  # a clean pass that still runs belongs to this one's time
                if number:
                    taken[one.name].append(rows)
                    wall_s[one.name] += time.perf_counter() - begun
    finally:
        for one in contestants:
            one.close()
    ratios = [_median(theirs) / _median(own) for own, theirs in zip(taken[ours.name], taken[rival.name], strict=True)]
    flat = {key: [row for rows in kept for row in rows] for key, kept in taken.items()}
    return {
        "vs": {
            "name": name,
            "what": WHAT[name],
            "rounds": rounds,
            "chunks_per_round": ROUND_CHUNKS,
            "ours": summary(engine, flat[ours.name], wall_s[ours.name]),
            "theirs": summary(engine, flat[rival.name], wall_s[rival.name]),
            "ratio": round(_median(flat[rival.name]) / _median(flat[ours.name]), 2),
            "ratio_of_rounds": [round(min(ratios), 2), round(max(ratios), 2)],
        }
    }


def _median(rows: list[ChunkStats]) -> float:
    return statistics.median(row.total_ms for row in rows)
