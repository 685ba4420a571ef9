from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from markdown_it import MarkdownIt

from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.notify.actions import Action, ActionKind
from monitoring_pipeline.notify.alerts import Alert, Status
from monitoring_pipeline.notify.incidents import Incident, Kind, reported
from monitoring_pipeline.notify.postmortem import QUESTION, SECTIONS, Facts, Line, Score, post_mortem
from monitoring_pipeline_tests.golden_files import assert_golden
from monitoring_pipeline_tests.incidents import resolved, worsened
from monitoring_pipeline_tests.outcomes import hour

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")

HOSTILE = [
    "</td><script>alert(1)</script>",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <https://evil.example>",
    "https://evil.example/login www.evil.example",
    "| forged | row |\n|---|---|",
    "# Forged heading\n---\n===",
    "- forged item",
    "1. forged item",
    "`code` **bold** _it_ ~~gone~~ &amp; \\| \\",
    "**Question:** is all well?\x1b[2J\u202e",
]


def alert(rule: str, reason: str) -> Alert:
    return Alert(
        id=f"churn/{rule}@2026-11-20T06Z",
        fingerprint=f"churn/{rule}",
        model="churn",
        rule=rule,
        severity=Level.CRITICAL,
        status=Status.RESOLVED,
        opened_at=hour(1),
        updated_at=hour(9),
        resolved_at=hour(9),
        first_hour=hour(0),
        last_hour=hour(8),
        quiet_evaluations=3,
        evidence_summary=(),
        runbook="",
        reason=reason,
        since=hour(0),
    )


def incident(**changes: Any) -> Incident:
    """One that was taken on, mitigated, and is over."""
    cause = {
        "name": "a feature changed its meaning: tenure",
        "kind": "data",
        "confidence": 0.92,
        "evidence": ["skew.changed_meaning tenure is 1", "altogether 0.92"],
        "actions": ["Have the source of tenure restore its unit"],
    }
    usual: dict[str, Any] = {
        "acknowledged_by": "ana",
        "owner": "team:churn",
        "causes": (cause,),
        "status": Status.RESOLVED,
        "opened_at": hour(1) + timedelta(minutes=20),
        "acknowledged_at": hour(1) + timedelta(minutes=32),
        "mitigated_at": hour(5),
        "resolved_at": hour(9) + timedelta(minutes=20),
    }
    return replace(worsened(), **usual | changes)


def facts(**changes: Any) -> Facts:
    made = Facts(
        incident=incident(),
        timeline=[
            Line(hour(1) + timedelta(minutes=20), hour(0), "opened", "feature_drift", "started_firing"),
            Line(hour(2) + timedelta(minutes=20), hour(1), "updated", "feature_drift", "still_breached"),
            Line(hour(3), hour(2), "escalated", "escalation", "nobody has acknowledged it for 15 min"),
            Line(hour(3), hour(2), "withheld", "silence", "worsened: silenced by ben until 2026-11-20 12:00Z: tests"),
            Line(hour(6), hour(5), "noted", "ana", "the release is rolled back everywhere"),
            Line(hour(5), hour(5), "mitigated", "ana", "release 41 rolled back"),
            Line(hour(9) + timedelta(minutes=20), hour(8), "resolved", "feature_drift", "all_quiet"),
        ],
        end=hour(5),
        alerts=[alert("feature_drift", "tenure: 1.235"), alert("performance_decline", "accuracy is 0.48")],
        reasons={"feature_drift": "tenure: 1.235"},
        evidence=[each | {"hour": "2026-11-20 08:00"} for each in worsened().evidence_summary],
        messages={("console", "sent"): 3, ("slack:#ml", "dead"): 1},
        rows_served={"12": 11_000, "13": 900},
        labelled=10_400,
        scores=[
            Score("12", "accuracy", 0.48, 0.47, 0.49, 0.81, 10_000),
            Score("12", "roc_auc", 0.52, None, None, None, 10_000),
        ],
        retrainings=["decided on at 2026-11-20 08:00, of version 12: rejected"],
        diagnoses=["covariate drift (sudden) in 6 of 9 hours"],
    )
    return replace(made, **changes)


def structure(draft: str) -> list[str]:
    """Return what a reader of Markdown makes of the draft, without its text."""
    kinds = []
    for token in MARKDOWN.parse(draft):
        kinds += [
            token.type,
            *(child.type for child in token.children or () if child.type not in ("text", "text_special")),
        ]
    return kinds


def test_the_draft_tells_what_is_on_record_and_asks_for_the_rest() -> None:
    assert_golden("post_mortem.md", post_mortem(facts()))


def test_every_section_of_a_post_mortem_is_there_once() -> None:
    for draft in (post_mortem(facts()), post_mortem(Facts(resolved(), [], hour(4)))):
        assert [line[3:] for line in draft.splitlines() if line.startswith("## ")] == list(SECTIONS)


def test_an_incident_of_which_little_is_known_becomes_questions() -> None:
    complaint = reported(Action(ActionKind.OPEN, "", "ben", hour(0), "scores look wrong", {"model": "churn"})).incident
    draft = post_mortem(Facts(complaint, [], hour(2)))
    for asked in (
        "nobody acknowledged it",
        "it is still open",
        "how many predictions were served",
        "how well did it predict meanwhile",
        "this system told nobody",
        "what was the root cause",
        "what did the data look like",
        "which check upstream should have stopped it",
    ):
        assert f"{QUESTION}{asked}" in draft
    assert "by a person" in draft
    assert "No rule saw it: a person reported it." in draft
    assert f"it does not tell is asked: {draft.count(QUESTION)} questions" in draft
    assert "None found" not in draft
    assert "nan" not in draft.lower().split()


def test_what_was_said_later_stands_where_it_was_done() -> None:
    lines = [line for line in post_mortem(facts()).splitlines() if "rolled back" in line]
    assert [line.split(" | ")[2] for line in lines] == ["mitigated", "noted"]


@pytest.mark.parametrize(
    ("changes", "said", "action"),
    [
        ({"alerts": ()}, "No rule saw it", "Write a rule that would have"),
        ({"incident": incident(opened_at=hour(30))}, "It took 30.0 h to see it.", "See it sooner"),
        ({"incident": incident(acknowledged_at=None)}, "Nobody took it on.", "Find out why nobody took it on"),
        ({"incident": incident(times_reopened=2)}, "It came back 2 times", "what was not mended the first time"),
        ({}, "It was escalated once.", "whoever was told first"),
        ({}, "A message was withheld once", "the silence hid more"),
        ({}, "Messages given up on slack:#ml: 1.", "outbox --revive"),
        ({}, "2 versions served meanwhile.", "Compare the versions"),
        ({}, "A retraining was decided on once meanwhile.", "no version learnt from the rows"),
        ({"incident": incident(kind=Kind.DATA)}, "The rows of this time are in the log", "Keep the rows of"),
    ],
)
def test_what_made_it_worse_is_named_with_something_to_do_about_it(
    changes: dict[str, Any], said: str, action: str
) -> None:
    draft = post_mortem(facts(**changes)).replace("\\", "")
    assert said in draft.partition("## Contributing factors")[2].partition("## What the data")[0]
    assert action in draft.partition("## Action items")[2]


def test_nothing_that_did_not_happen_is_called_a_factor() -> None:
    calm = facts(timeline=[], messages={("console", "sent"): 2}, rows_served={"12": 5}, retrainings=[])
    draft = post_mortem(replace(calm, incident=incident(kind=Kind.MODEL, causes=())))
    factors = draft.partition("## Contributing factors")[2].partition("## What the data")[0]
    assert [line for line in factors.splitlines() if line.startswith("- ") and QUESTION not in line] == []
    assert "| ? | ? | ? |" in draft.partition("## Action items")[2]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_or_people_is_shown_and_changes_nothing_else(text: str) -> None:
    def of(word: str) -> Facts:
        evidence: dict[str, object] = {
            "metric": word,
            "column": word,
            "segment": word,
            "window": word,
            "threshold_origin": word,
        }
        evidence |= {"value": 1.0, "threshold": 0.5, "level": "critical"}
        evidence["hour"] = word
        evidence["bins"] = [{"bin": word, "reference": 0.1, "current": 0.2}]
        cause = {"name": word, "confidence": 0.5, "evidence": [word], "actions": [word]}
        hurt = incident(
            **dict.fromkeys(("id", "model", "rule", "owner", "reason", "acknowledged_by"), word),
            causes=(cause,),
            evidence_summary=(evidence,),
        )
        return facts(
            incident=hurt,
            timeline=[Line(hour(1), hour(0), word, word, word)],
            alerts=[alert("a", word), alert(word, word)],
            reasons={word: word},
            evidence=[evidence],
            messages={(word, word): 1},
            rows_served={word: 5},
            scores=[Score(word, word, 0.5, None, None, None, 5)],
            retrainings=[word],
            diagnoses=[word],
        )

    hostile = post_mortem(of(text))
    assert structure(hostile) == structure(post_mortem(of("plain")))
    assert not {"html_inline", "html_block", "link_open", "image", "code_inline", "strong_open"} & set(
        structure(hostile.replace(QUESTION, ""))
    )
    assert not any(bare in hostile for bare in ("https://", "www.evil", "\x1b", "\u202e")), "no address becomes a link"


def test_a_heading_hides_no_text() -> None:
    shown = MARKDOWN.render(post_mortem(facts(reasons={"feature_drift": "5 < 6 & a_b *c* [d] 1. e"})))
    assert "<p>5 &lt; 6 &amp; a_b *c* [d] 1. e</p>" in shown
