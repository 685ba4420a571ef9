"""Deterministic, uniform, bounded samples of rows by the hash of their prediction id.

Add a way of choosing rows here when it depends on ids alone. Keep storage out: it belongs in stores.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def id_hashes(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash per id, the same on every machine and in every process."""
    digests = b"".join(blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest() for value in ids)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def sample_rows(rows: pa.Table, *, id_column: str, limit: int) -> pa.Table:
    """Return at most `limit` rows: those whose ids hash lowest, in the order of the hash.

    Every row has the same chance, the choice does not depend on the order of the rows, and the sample of a union
    is the sample of the union of the samples (a bottom-k sketch; Cohen and Kaplan, 2007).
    """
    ids = [str(value) for value in rows[id_column].to_pylist()]
    lowest = np.lexsort((np.array(ids, dtype=object), id_hashes(ids)))[:limit]
    return rows.take(pa.array(lowest, type=pa.int64()))
