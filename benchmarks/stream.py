"""Stream nano for 1,000 chunks and keep the figures: ``python benchmarks/stream.py [--chunks N] [--out FILE]``.

All arguments are those of ``motionstream bench``; ``--horizon N`` says the number of chunks too.

Speed is end to end (live points -> uint8 frames). ``late_over_early`` compares the last 50 chunks with chunks 50-100,
``memory_growth_mib`` the resident set over the same span; both should be flat.
"""

import sys

from motionstream.cli import main

if __name__ == "__main__":
    given = sys.argv[1:]
    length = [] if any(one.split("=")[0] in ("--chunks", "--horizon") for one in given) else ["--chunks", "1000"]
    sys.argv = ["motionstream", "bench", *length, *given]
    sys.exit(main())
