import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from monitoring_pipeline.publish.gate_report import gate_report, plain

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")

COMPARISON = {"champion": 0.6, "challenger": 0.65, "gain": 0.05, "low": 0.01, "high": 0.09, "p_value": 0.0123}
UNKNOWN = dict.fromkeys(COMPARISON)


def document(**changed: Any) -> dict[str, Any]:
    return {
        "model": "churn",
        "champion": "1",
        "challenger": "2",
        "metric": "roc_auc",
        "confidence": 0.95,
        "holdout": ["2026-04-01T00:00:00+00:00", "2026-04-08T00:00:00+00:00"],
        "rows": 1234,
        "positives": 321,
        "units": [7, "day"],
        "comparisons": {"roc_auc": COMPARISON, "log_loss": COMPARISON},
        "mcnemar_p_value": 0.04,
        "outcome": "keep_champion",
        "reasons": ["the loss grows in region=north by 31.0%", "log_loss loses 0.0200"],
        "guard_rails": [
            {"rail": "segments", "status": "objects", "reason": "the loss grows", "found": 0.31, "limit": 0.1},
            {"rail": "fairness", "status": "not_known", "reason": "no column", "found": None, "limit": 0.8},
        ],
        "back_test": {
            "metric": "roc_auc",
            "folds": [{"start": "2026-03-01", "end": "2026-03-08", "trained_on": 900, "rows": 300} | COMPARISON],
        },
        **changed,
    }


def cells(report: str) -> list[list[str]]:
    """Return the cells of every row of every table, as a reader sees them."""
    html = MARKDOWN.render(report)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html, flags=re.S)]


def test_the_report_shows_every_number_of_the_verdict() -> None:
    report = gate_report(document())
    rows = cells(report)
    assert rows[:2] == [
        ["metric", "champion", "challenger", "gain", "95% interval", "p"],
        ["roc_auc", "0.6000", "0.6500", "+0.0500", "+0.0100 to +0.0900", "0.0123"],
    ]
    assert ["segments", "objects", "0.31", "0.1", "the loss grows"] in rows
    assert ["fairness", "not known", "not known", "0.8", "no column"] in rows
    assert rows[-1][:3] == ["2026-03-01 to 2026-03-08", "900", "300"]
    for words in ("1,234 labelled rows, 321 of them positive", "the intervals count 7 days", "p 0.04 (McNemar"):
        assert words in report
    assert "the champion stays" in report
    assert "- log\\_loss loses 0.0200" in report


def test_what_is_not_known_is_said() -> None:
    changed = document(
        comparisons={"mae": UNKNOWN}, positives=None, mcnemar_p_value=None, back_test=None, guard_rails=[]
    )
    report = gate_report(changed | {"units": [5, "hour"], "holdout": [], "rows": 0})
    assert cells(report)[1] == ["mae", *["not known"] * 5]
    assert "of at least three: hours of a day are not independent either" in report
    assert "McNemar" not in report
    assert "Back-test" not in report
    assert "Guard-rails" not in report


HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <https://evil.example>",
    "https://evil.example www.evil.example",
    "| forged | row |\n|---|---|\n\n# Forged",
    "`code` **bold** _it_ ~~gone~~ &amp; \\| \\",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_data_say_is_shown_and_never_read_as_markup(text: str) -> None:
    finding = {"rail": "segments", "status": "objects", "reason": f"grows in region={text}", "found": 1.0, "limit": 0.1}
    report = gate_report(document(model=text, reasons=[f"grows in region={text}"], guard_rails=[finding]))
    tokens = [part for token in MARKDOWN.parse(report) for part in (token, *(token.children or []))]
    assert {token.type for token in tokens}.isdisjoint(
        {"html_inline", "html_block", "link_open", "image", "code_inline"}
    )
    assert [len(row) for row in cells(report)] == [6, 6, 6, 5, 5, 7, 7]
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2", "h2", "h2"]
    shown = " ".join(token.content for token in tokens if token.type == "text")
    assert " ".join(text.split()) in shown


def test_ordinary_words_stay_readable() -> None:
    assert plain("accuracy 0.81 -> 0.83 (+0.02), 95% interval") == "accuracy 0.81 -&gt; 0.83 (+0.02), 95% interval"
