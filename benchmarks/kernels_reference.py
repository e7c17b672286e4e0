"""How fast the reference reduces blocks: ``.oracle/bin/python benchmarks/kernels_reference.py CASES``, on one core.

A program of its own, since the reference is not installed beside wkflow. ``CASES`` and what is printed are JSON.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

os.environ["NUMBA_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from tile import best_time, make_tile
from webknossos.dataset.layer import _downsampling_numba as reference


def main() -> None:
    rates = []
    for kernel, dtype, factor, data, size in json.loads(sys.argv[1]):
        function = reference.median_downsample if kernel == "median" else reference.mode_downsample
        tile = np.asfortranarray(
            make_tile(dtype, size, data).transpose(2, 1, 0)
        )  # as it reads them: x, y, z, x fastest
        rates.append(tile.size / best_time(partial(function, tile, factor)) / 1e6)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
