"""What callers of a scoring service send and get, and what is recorded of it.

Add a field of a request or an answer here. Keep scoring out: the app puts the two together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, create_model

from monitoring_pipeline.capture.labels import LabelColumns
from monitoring_pipeline.capture.predictions import EARLIEST, LATEST, TIME_TYPE, LogColumns
from monitoring_pipeline.describe.columns import ColumnKind
from monitoring_pipeline.describe.outcomes import Task
from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.serve.routing import SHADOW_SCORE, SHADOW_VERSION
from monitoring_pipeline.serve.scoring import Scorer

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[StrictStr, Field(max_length=500)]
Id = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]


def _written(value: object) -> object:
    """Refuse numbers: nobody says whether they count seconds or milliseconds."""
    if not isinstance(value, str) or value[4:5] != "-":
        raise ValueError("not a moment such as 2026-11-20T12:00:00Z")
    return value


def _whole(value: object) -> object:
    """Take 1.0 for 1: JSON makes no difference, and a column with gaps is written that way."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


ZeroOrOne = Annotated[int, Field(strict=True, ge=0, le=1), BeforeValidator(_whole)]
Moment = Annotated[
    AwareDatetime,
    Field(ge=EARLIEST, lt=LATEST, description=f"With its offset from UTC; {EARLIEST.year} to {LATEST.year - 1}."),
    BeforeValidator(_written),
]

KINDS: Mapping[ColumnKind, tuple[Any, pa.DataType]] = {
    ColumnKind.NUMERIC: (Number, pa.float64()),
    ColumnKind.CATEGORICAL: (Text, pa.string()),
    ColumnKind.BOOLEAN: (StrictBool, pa.bool_()),
    ColumnKind.DATETIME: (Moment, TIME_TYPE),
}

ALSO_RECORDED = {
    "served_by": pa.string(),
    "status": pa.string(),
    "variant": pa.string(),
    "endpoint": pa.string(),
    "entity_id": pa.string(),
    "batch_rows": pa.int64(),
    "latency_ms": pa.float64(),
}
"""Columns of the log that a monitor need not name, under the names they have then."""


class Message(BaseModel):
    """What a request says; anything else in it is an error of its sender."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Prediction(Message):
    """One answer. `served_by` says which part of the service gave it, `variant` the arm of an experiment."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    prediction_id: str
    predicted_at: AwareDatetime
    model: str
    version: str
    prediction: float
    score: float | None
    served_by: str
    variant: str


class Predictions(Message):
    """The answers to a batch, in its order."""

    predictions: list[Prediction]


class Stored(Message):
    """How many labels are stored."""

    stored: int


class Fault(Message):
    """One thing wrong with a request."""

    where: str
    message: str


class Problem(Message):
    """What went wrong, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Fault] = []


@dataclass(frozen=True)
class Contract:
    """Requests, answers and records of one model.

    features: their kinds. context: other columns that callers may send along, to be recorded and not scored. example:
    features of one row, for the documentation.
    """

    model: str
    features: Mapping[str, ColumnKind]
    columns: LogColumns = field(default_factory=LogColumns)
    labels: LabelColumns = field(default_factory=LabelColumns)
    task: Task = Task.BINARY
    threshold: float = 0.5
    context: Sequence[str] = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    max_rows: int = 1000
    names_ids: bool = True  # in the lines that are logged for requests

    @cached_property
    def request(self) -> type[BaseModel]:
        """The body of `/predict`: a missing feature is null, an unknown one is an error."""
        features: dict[str, Any] = {
            f"feature_{at}": (KINDS[kind][0] | None, Field(default=None, alias=name))
            for at, (name, kind) in enumerate(self.features.items())
        }
        fields: dict[str, Any] = {
            "features": (create_model("Features", __base__=Message, **features), ...),
            "prediction_id": (Id | None, Field(default=None, description="Of your own; else the service makes one.")),
            "entity": (Id | None, Field(default=None, description="Whom it is about: keeps its arm of an experiment.")),
        }
        if self.context:
            others: dict[str, Any] = {
                f"context_{at}": (Number | StrictBool | Text | None, Field(default=None, alias=name))
                for at, name in enumerate(self.context)
            }
            fields["context"] = (create_model("Context", __base__=Message, **others) | None, None)
        request: type[BaseModel] = create_model("PredictionRequest", __base__=Message, **fields)
        request.model_config["json_schema_extra"] = {"examples": [{"features": dict(self.example)}]}
        request.model_rebuild(force=True)
        return request

    @cached_property
    def batch(self) -> type[BaseModel]:
        """The body of `/predict/batch`."""
        rows = (list[self.request], Field(min_length=1, max_length=self.max_rows))  # type: ignore[name-defined]  # made above
        batch: type[BaseModel] = create_model("BatchRequest", __base__=Message, rows=rows)
        return batch

    @cached_property
    def feedback(self) -> type[BaseModel]:
        """The body of `/feedback`."""
        actual: Any = Number if self.task is Task.REGRESSION else ZeroOrOne
        when = "From the answer to the prediction; without it the prediction is looked up in the log."
        label = create_model(
            "Label",
            __base__=Message,
            prediction_id=(Id, ...),
            actual=(actual, ...),
            labelled_at=(Moment | None, Field(default=None, description="Now, if it is not said.")),
            predicted_at=(Moment | None, Field(default=None, description=when)),
        )
        return create_model(
            "Feedback", __base__=Message, labels=(list[label], Field(min_length=1, max_length=self.max_rows))
        )

    @cached_property
    def names(self) -> dict[str, str]:
        """The column each of `ALSO_RECORDED` is recorded as; one whose name is taken otherwise is left out."""
        columns = self.columns
        named = {
            "served_by": columns.served_by,
            "status": columns.status,
            "entity_id": columns.entity,
            "batch_rows": columns.batch_rows,
            "latency_ms": columns.latency_ms.get("total"),
        }
        taken = {*self.features, *self.context, *columns.names()}
        found = {name: named.get(name) or (name if name not in taken else "") for name in ALSO_RECORDED}
        return {name: column for name, column in found.items() if column}

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of a record, without those that a shadow adds."""
        columns = self.columns
        value = pa.float64() if self.task is Task.REGRESSION else pa.int64()
        types: dict[str | None, pa.DataType] = {
            columns.prediction_id: pa.string(),
            columns.predicted_at: TIME_TYPE,
            columns.version: pa.string(),
            columns.prediction: value,
            columns.score: pa.float64(),
        }
        types |= dict.fromkeys(columns.latency_ms.values(), pa.float64())
        types |= {self.names[name]: kind for name, kind in ALSO_RECORDED.items() if name in self.names}
        types |= {name: KINDS[kind][1] for name, kind in self.features.items()}
        # Of these only the names are known: null they are there for whoever asks for them.
        types |= dict.fromkeys((name for name in (*self.context, *columns.names()) if name not in types), pa.null())
        types = {name: kind for name, kind in types.items() if name not in (None, SHADOW_VERSION, SHADOW_SCORE)}
        return pa.schema([(str(name), kind) for name, kind in types.items()])

    @cached_property
    def feature_schema(self) -> pa.Schema:
        """The columns a model is shown, typed whatever is missing in a row."""
        return pa.schema([(name, KINDS[kind][1]) for name, kind in self.features.items()])

    def frame(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Return rows as the data frame that a `Scorer` takes."""
        return pa.Table.from_pylist(list(rows), schema=self.feature_schema).to_pandas()

    def check(self, scorer: Scorer) -> None:
        """Raise RegistryError for a model that asks for columns callers cannot send, or fails on the example."""
        name = f"{scorer.model} v{scorer.version}"
        if missing := [feature for feature in scorer.features if feature not in self.features]:
            raise RegistryError(
                f"{name} asks for {', '.join(missing)}: no feature of the monitor. Add it to features:."
            )
        try:
            scorer.score(self.frame([self.example]))
        except Exception as error:
            raise RegistryError(f"{name} cannot score the example row: {error}. Look at its features.") from error

    def fills(self, scorer: Scorer) -> bool:
        """Return whether a model needs something in place of missing values."""
        try:
            return not np.isfinite(scorer.score(self.frame([{}]))).all()
        except Exception:  # noqa: BLE001 - whatever a model raises for a row without values, it cannot use it
            return True
