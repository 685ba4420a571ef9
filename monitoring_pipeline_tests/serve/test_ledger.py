import signal
import subprocess
import sys
from pathlib import Path

from monitoring_pipeline.serve.ledger import NAMES, Ledger, unaccounted

DIE = """
import os, signal, sys
from pathlib import Path
from monitoring_pipeline.serve.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.add("accepted", 10)
ledger.add("stored", 6)
ledger.add("lost", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_counters_add_up_and_what_is_neither_stored_nor_lost_is_pending() -> None:
    ledger = Ledger()
    ledger.add("accepted", 5)
    ledger.add("stored", 3)
    ledger.add("lost")
    assert ledger.counts() == dict(zip(NAMES, (5, 3, 1, 0, 0), strict=True))
    assert ledger.pending == 1


def test_what_a_killed_process_took_with_it_is_counted_once(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIE, str(tmp_path)]).returncode == -signal.SIGKILL
    assert (unaccounted(tmp_path), unaccounted(tmp_path)) == (3, 0)


def test_a_process_that_lives_or_ended_in_order_has_lost_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add("accepted", 2)
    assert unaccounted(tmp_path) == 0, "it may still store them"
    ledger.add("stored", 2)
    ledger.close()
    assert list(tmp_path.iterdir()) == []
    assert ledger.counts()["stored"] == 2, "the last reading of the metrics comes after the end"


def test_what_was_pending_at_the_end_is_found_by_the_next_process(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add("accepted", 4)
    ledger.close()
    assert unaccounted(tmp_path) == 4
