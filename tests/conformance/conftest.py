"""One oracle process per kind of shard and test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .oracle import Oracle, OracleError, oracle_python

OracleOf = Callable[[str | None], Oracle]


@pytest.fixture(scope="session")
def oracle_of() -> Iterator[OracleOf]:
    """The oracle for a value of WK_DEFAULT_CHUNKS_PER_SHARD. Without an oracle the tests fail; they are not skipped."""
    try:
        oracle_python()
    except OracleError as error:
        pytest.fail(str(error), pytrace=False)
    oracles: dict[str | None, Oracle] = {}

    def get(chunks_per_shard: str | None) -> Oracle:
        return oracles.setdefault(chunks_per_shard, Oracle(chunks_per_shard))

    yield get
    for oracle in oracles.values():
        oracle.close()


@pytest.fixture
def oracle(oracle_of: OracleOf) -> Oracle:
    """The usual oracle: shards of 64 cubed."""
    return oracle_of("2,2,2")
