import pytest

from monitoring_pipeline.publish.exposition import OPENMETRICS, TEXT, Form, form_for, page, written
from monitoring_pipeline.publish.metrics import Families
from monitoring_pipeline_tests.exposition import assert_valid, samples, series

HOSTILE = [
    '"} 0\ndrift_psi 9',
    "back\\slash\\",
    "\\n is not a newline",
    "名前 🦆",
    "a,b=c{}",
    "\ttab",
    "\u2028line",
    "naïve",
]
FORMS = pytest.mark.parametrize("form", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])


def of_models(*models: str) -> list[Families]:
    found = [Families() for _ in models]
    for families, model in zip(found, models, strict=True):
        families.add("monitor_served_rows", 1e7, model=model)
        families.add("retraining_decisions_total", 3, model=model, outcome="fired")
    return found


def text(parts: list[Families], form: Form) -> str:
    return page([written(part, form) for part in parts], form).decode()


@FORMS
def test_hostile_names_come_back_as_they_were(form: Form) -> None:
    families = Families()
    for number, name in enumerate(HOSTILE):
        families.add("feature_mean", number, feature=name)
    found = text([families], form)
    assert series(found, "feature_mean") == {name: float(number) for number, name in enumerate(HOSTILE)}


def test_both_formats_say_the_same_and_only_one_of_them_ends() -> None:
    parts = of_models("churn", "fraud")
    found, openmetrics = text(parts, TEXT), text(parts, OPENMETRICS)
    assert samples(found) == samples(openmetrics)
    assert len(samples(found)) == 4
    assert openmetrics.endswith("# EOF\n")
    assert (openmetrics.count("# EOF"), found.count("# EOF")) == (1, 0)
    assert "# TYPE retraining_decisions counter" in openmetrics, "its samples alone end in _total"
    assert_valid(found)


@FORMS
def test_a_metric_of_several_models_has_one_head(form: Form) -> None:
    found = text(of_models("fraud", "churn"), form)
    assert found.count("# TYPE monitor_served_rows gauge\n") == 1
    assert series(found, "monitor_served_rows") == {"fraud": 1e7, "churn": 1e7}


def test_prometheus_gets_the_format_it_asks_for_first_and_a_browser_gets_text() -> None:
    prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    assert form_for(prometheus) == OPENMETRICS
    assert form_for("text/html,*/*;q=0.8") == form_for("") == TEXT
