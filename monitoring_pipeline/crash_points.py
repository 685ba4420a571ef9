"""Named points at which a process can be made to end as if its machine had lost power: for tests of faults.

Off unless the variable MONITORING_CRASH_AT names a point: `outbox.after_send`, or `file.before_rename:7` for the
seventh time it is reached. Add a call where a loss would matter, and its name to `POINTS`. Keep everything else out: no
code may ask whether it is under test.
"""

import os
import signal
from collections import Counter

VARIABLE = "MONITORING_CRASH_AT"

POINTS = {
    "file.before_rename": "a file is written under another name, and not there yet",
    "asset.before_done": "an asset has done its work, and Dagster does not know it",
    "outbox.after_claim": "a dispatcher holds a message, and has not sent it",
    "outbox.after_send": "a channel took a message, and that is not on record",
    "outbox.after_mark": "a message is on record as sent, and others wait",
    "outcomes.after_apply": "incidents and their messages are on record, and whoever asked does not know",
    "retraining.after_decision": "a retraining was decided, and no run has it",
    "retraining.after_register": "a challenger is in the registry, and the run has not said so",
    "alias.after_move": "an alias has moved, and nothing says why",
    "rollback.after_intent": "a rollback is on record, and nothing has moved",
    "incident.after_act": "a note or a report is on record, and what follows from it is not done",
    "recorder.before_append": "the scoring service is about to store rows",
    "recorder.after_append": "the scoring service has stored rows, and its spool still has them",
}
"""Every point and what is at stake there."""

_reached: Counter[str] = Counter()


def reached(point: str) -> None:
    """End this process without a word where the variable names `point`."""
    wanted = os.environ.get(VARIABLE)  # noqa: TID251 - read when it is reached: a test forks its processes
    if wanted is None:
        return
    name, _, count = wanted.partition(":")
    if name == point:
        _reached[point] += 1
        if _reached[point] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
