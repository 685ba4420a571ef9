"""Training in a process of its own, with an end to its time and its memory.

What a trainer prints, how long it takes and what it does to its process is not the pipeline's problem; it is no
sandbox, for the process has the rights of the run. Rows go in as Parquet, models come back as skops files: nothing is
unpickled. `python -m monitoring_pipeline.workflow.trainer_process FOLDER` is that process. Add what it hands over to
`_fit`. Keep ways of fitting out: they belong in retrain.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import MonitoringError, RegistryError, without_password
from monitoring_pipeline.retrain.refit import TrainerError, cross_fitted_scores, fitter, scores_of
from monitoring_pipeline.serve.trusted import load_trusted

if TYPE_CHECKING:
    import pandas as pd

GB = 10**9
TAIL = 4000
"""Characters of what a trainer printed that are kept: its last ones."""

GRACE_SECONDS = 30
"""How much longer a process lives on whose run was killed: then nobody else is there to end it."""


@dataclass(frozen=True, slots=True)
class Training:
    """What is to be fitted, and within what; `balanced` gives every class the same weight."""

    trainer: str
    features: Sequence[str]
    task: Task
    trusted_types: Sequence[str]
    balanced: bool
    seconds: int
    memory_gb: float


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The fitted estimator, an out-of-sample score of every training row, and the last the trainer printed."""

    estimator: Any
    scores: npt.NDArray[np.float64]
    printed: str


def train_apart(rows: "pd.DataFrame", asked: Training, *, champion: Any = None) -> Trained:
    """Fit in another process and return what it made; `champion` is what `refit` and `recalibrate` start from."""
    with tempfile.TemporaryDirectory(prefix="monitoring-") as private:
        folder = Path(private)
        (folder / "request.json").write_text(json.dumps(asdict(asked)))
        rows.to_parquet(folder / "training.parquet", index=False)
        if champion is not None:
            import skops.io

            skops.io.dump(champion, folder / "champion.skops")
        code, printed = _run(folder, asked.seconds)
        answer = folder / "answer.json"
        found = json.loads(answer.read_text()) if answer.exists() else {}
        if found.get("failure") or code != 0 or not found:
            said = f" It printed last:\n{printed}" if printed else ""
            why = found.get("failure") or _ending(code, asked)
            raise TrainerError(f"{asked.trainer} on {len(rows)} rows: {why}{said}")
        try:
            estimator = load_trusted(folder / "fitted.skops", asked.trusted_types, f"what {asked.trainer!r} trained")
        except RegistryError as error:
            raise TrainerError(f"{error} The trusted types are retraining.trusted_types.") from error
        return Trained(estimator, np.load(folder / "scores.npy", allow_pickle=False), printed)


def _run(folder: Path, seconds: int) -> tuple[int | None, str]:
    """Return how the process ended, None if it was ended for its time, and the last it printed."""
    places = [each or os.curdir for each in sys.path]
    variables = {
        **os.environ,  # noqa: TID251 - a trainer reads what a run reads
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONUNBUFFERED": "1",  # or what it printed before it was ended would be lost
    }
    process = subprocess.Popen(  # noqa: S603 - this module, by the interpreter it runs in
        [sys.executable, "-m", __spec__.name, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=variables,
        start_new_session=True,
    )
    assert process.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_keep_tail, args=(process.stdout, kept), daemon=True)
    reader.start()
    code = None
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # and all it has started
        process.wait()
        reader.join()
        process.stdout.close()
    return code, without_password(kept.decode(errors="replace"))[-TAIL:].strip()


def _keep_tail(output: IO[bytes], kept: bytearray) -> None:
    while piece := os.read(output.fileno(), 65536):
        kept += piece
        del kept[: -4 * TAIL]


def _ending(code: int | None, asked: Training) -> str:
    if code is None:
        return (
            f"not done within {asked.seconds / 60:g} minutes. Raise retraining.limits.minutes, or train on fewer rows: "
            "retraining.max_rows."
        )
    if code == 0:
        return "its process ended without handing over a model. A trainer returns its model and does not exit."
    if code < 0:
        return (
            f"its process was killed by {signal.Signals(-code).name}. Libraries end so when memory is refused: at most "
            f"{asked.memory_gb:g} GB are allowed. Raise retraining.limits.memory_gb, or train on fewer rows."
        )
    return f"its process ended with {code}."


def main(folder: Path) -> None:
    """Fit what the folder asks for, and write what came of it into it."""
    document = json.loads((folder / "request.json").read_text())
    asked = Training(**document | {"task": Task(document["task"])})
    signal.alarm(asked.seconds + GRACE_SECONDS)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [limit for limit in (round(asked.memory_gb * GB), *before) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), before[1]))
    answer: dict[str, Any] = {}
    try:
        _fit(folder, asked)
        answer = {"done": True}
    except MemoryError as error:
        resource.setrlimit(resource.RLIMIT_DATA, before)  # to be able to say so
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB
        wanted = f": {' '.join(str(error).split())}" if str(error) else ""
        answer["failure"] = (
            f"{most:.1f} GB of memory were in use when it asked for more than {asked.memory_gb:g} GB{wanted}. Raise "
            "retraining.limits.memory_gb, or train on fewer rows: retraining.max_rows."
        )
    except MonitoringError as error:
        answer["failure"] = str(error)
    except Exception as error:  # noqa: BLE001 - whatever the trainer's own code raises
        traceback.print_exc()
        answer["failure"] = f"it raised {type(error).__name__}: {' '.join(str(error).split())[:500]}"
    (folder / "answer.json").write_text(json.dumps(answer))


def _fit(folder: Path, asked: Training) -> None:
    import pandas as pd

    rows = pd.read_parquet(folder / "training.parquet")
    saved = folder / "champion.skops"
    champion = load_trusted(saved, asked.trusted_types, "the champion") if saved.exists() else None
    fit = fitter(asked.trainer, features=asked.features, task=asked.task, balanced=asked.balanced, champion=champion)
    estimator = fit(rows)
    scores_of(estimator, rows.head(100)[list(asked.features)], asked.task)  # before the rest is fitted for nothing
    np.save(
        folder / "scores.npy",
        cross_fitted_scores(rows, fit, features=asked.features, task=asked.task),
        allow_pickle=False,
    )
    import skops.io

    skops.io.dump(estimator, folder / "fitted.skops")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
