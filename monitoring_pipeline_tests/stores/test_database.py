import threading
from concurrent.futures import ThreadPoolExecutor

from monitoring_pipeline.stores.database import StateDatabase
from monitoring_pipeline_tests.outcomes import hour


def test_a_watermark_moves_only_from_where_it_was_seen(state: StateDatabase) -> None:
    assert state.watermark("churn") is None
    assert not state.set_watermark("churn", "b", expected="a", now=hour(0))
    assert state.set_watermark("churn", "a", expected=None, now=hour(0))
    assert not state.set_watermark("churn", "b", expected=None, now=hour(0))
    assert state.set_watermark("churn", "b", expected="a", now=hour(1))
    assert not state.set_watermark("churn", "c", expected="a", now=hour(2))
    assert (state.watermark("churn"), state.watermark("fraud")) == ("b", None)


def test_of_several_that_set_the_first_watermark_at_once_one_succeeds(state_url: str) -> None:
    together = threading.Barrier(4)

    def put(number: int) -> bool:
        state = StateDatabase(state_url)
        together.wait()
        moved = state.set_watermark("churn", str(number), expected=None, now=hour(0))
        state.close()
        return moved

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(put, range(4))) == 1
