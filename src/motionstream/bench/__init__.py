"""Speed and memory of streaming, measured the same way by ``motionstream bench``, the suite "speed" and ``benchmarks/``."""

from motionstream.bench.machine import environment
from motionstream.bench.stream import bench_stream

__all__ = ["bench_stream", "environment"]
