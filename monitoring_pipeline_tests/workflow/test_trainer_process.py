import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.retrain.refit import TrainerError
from monitoring_pipeline.workflow.trainer_process import TAIL, Trained, Training, train_apart

ROWS = pd.DataFrame({"x": np.arange(60.0), "plan": ["a", "b", None] * 20, "actual": [0.0, 1.0, 0.0] * 20})


def trained(name: str, *, champion: Any = None, **asked: Any) -> Trained:
    trainer = name if name in ("refit", "recalibrate") else f"monitoring_pipeline_tests.trainers:{name}"
    limits: dict[str, Any] = {"balanced": False, "seconds": 60, "memory_gb": 2.0, **asked}
    return train_apart(ROWS, Training(trainer, ["x"], Task.BINARY, (), **limits), champion=champion)


def test_a_model_comes_back_with_a_score_for_every_row_and_what_was_printed() -> None:
    found = trained("talkative")
    assert found.estimator.class_prior_.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found.scores == pytest.approx([1 / 3] * 60, abs=0.02)
    assert found.printed.endswith("fitting 40 rows"), "the last fit leaves a third of the rows out"
    assert len(found.printed) <= TAIL


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raising", r"raising on 60 rows: it raised ZeroDivisionError: division by zero It printed last:\nabout to"),
        ("aborting", r"killed by SIGABRT\. .* at most 2 GB are allowed\. Raise retraining.limits.memory_gb"),
        ("leaving", "ended without handing over a model"),
        ("own_type", r"contains monitoring_pipeline_tests\.trainers\.Mine: not on the .* retraining.trusted_types"),
        ("speechless", r"speechless on 60 rows: the trainer returned a str, needed a fitted classifier"),
    ],
)
def test_a_trainer_that_hands_over_no_model_says_why(name: str, words: str) -> None:
    with pytest.raises(TrainerError, match=f"(?s){words}"):
        trained(name)


def test_a_trainer_that_eats_memory_is_refused_more() -> None:
    with pytest.raises(TrainerError, match=r"\d\.\d GB of memory were in use when it asked for more than 1 GB\. Raise"):
        trained("eating", memory_gb=1.0)


def test_a_trainer_that_loops_is_ended_with_everything_it_started() -> None:
    for seconds in (4, 40):  # a busy machine may take longer than the first to start it
        with pytest.raises(TrainerError, match=r"not done within .* minutes\. Raise retraining.limits") as caught:
            trained("looping", seconds=seconds)
        found = [int(line.split()[1]) for line in str(caught.value).splitlines() if line.startswith("process ")]
        if len(found) == 2:
            break
    assert len(found) == 2
    assert not any(alive(process) for process in found)


def alive(process: int) -> bool:
    """Whether it runs: what was ended may still be waiting for somebody to take note."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_champion_is_fitted_again_in_the_other_process() -> None:
    from sklearn.linear_model import LogisticRegression

    champion = LogisticRegression(C=7.0).fit(ROWS[["x"]], 1 - ROWS["actual"])
    found = trained("refit", champion=champion)
    assert found.estimator.C == 7.0
    assert found.estimator.coef_ == pytest.approx(LogisticRegression(C=7.0).fit(ROWS[["x"]], ROWS["actual"]).coef_)
    assert found.printed == ""
