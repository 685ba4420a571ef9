import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from monitoring_pipeline.stores.database import SignedRequests, StateDatabase
from monitoring_pipeline_tests.outcomes import hour


def test_a_signed_request_is_taken_once_until_it_is_forgotten_or_given_back(state: StateDatabase) -> None:
    one, other = SignedRequests(state), SignedRequests(state)
    assert one.claim("a", hour(0))
    assert not other.claim("a", hour(1))
    assert other.claim("b", hour(1))
    other.release("a")
    assert one.claim("a", hour(2)), "it had changed nothing"
    assert not one.claim("a", hour(26))
    assert one.claim("a", hour(26) + timedelta(seconds=1)), "no signature of then is good any more"


def test_of_several_processes_that_take_a_signed_request_at_once_one_has_it(state_url: str) -> None:
    together = threading.Barrier(4)

    def take(_worker: int) -> bool:
        state = StateDatabase(state_url)
        together.wait()
        taken = SignedRequests(state).claim("a", hour(0))
        state.close()
        return taken

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(take, range(4))) == 1
