"""The verdict on a challenger as Markdown: every number it rests on, for the page of its version and of its run.

Add a section here when an evaluation has something new to show. Keep what decides out: the document arrives judged.
Names and categories come from data: each is shown as text, never read as markup.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

VERDICTS = {"promote": "the challenger is better", "keep_champion": "the champion stays"}


def gate_report(document: Mapping[str, Any]) -> str:
    """Return the report of what `Evaluation.to_json` says, with the model, both versions and the hold-out's span."""
    champion, challenger = (plain(document[name]) for name in ("champion", "challenger"))
    return "\n".join(
        [
            f"# {plain(document['model'])}: challenger v{challenger} against champion v{champion}",
            "",
            f"**{VERDICTS[document['outcome']]}**",
            "",
            *(f"- {plain(reason)}" for reason in document["reasons"]),
            "",
            "## Hold-out",
            "",
            _hold_out(document),
            "",
            *_comparisons(document["comparisons"].items(), document["confidence"]),
            *_guard_rails(document["guard_rails"]),
            *_back_test(document["back_test"], document["confidence"]),
            "",
        ]
    )


def plain(value: object) -> str:
    """Return text that Markdown shows as it is, on one line: what data say may look like a link, a table or HTML."""
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~!#]|(?<=\w):(?=//)|(?<=www)\.)", r"\\\1", text, flags=re.IGNORECASE)


def _hold_out(document: Mapping[str, Any]) -> str:
    count, unit = document["units"]
    span = " to ".join(document["holdout"]) or "no time"
    classes = "" if document["positives"] is None else f", {document['positives']:,} of them positive"
    words = [
        f"{document['rows']:,} labelled rows{classes}, from {span}.",
        f"Rows of the same {unit} err together: the intervals count {count:,} {unit}s.",
    ]
    if unit == "hour":
        words.append("Days would be counted, of at least three: hours of a day are not independent either.")
    if document["mcnemar_p_value"] is not None:
        words.append(
            f"Equally many rows that only one of the two gets right: p {document['mcnemar_p_value']:.3g} (McNemar, for "
            "independent rows; it decides nothing)."
        )
    return " ".join(words)


def _comparisons(found: Iterable[tuple[str, Mapping[str, Any]]], confidence: float) -> Iterator[str]:
    rows = [[plain(metric), *_of_both(item), _number(item["p_value"], ".3g")] for metric, item in found]
    yield from _table(["metric", "champion", "challenger", "gain", f"{confidence:.0%} interval", "p"], rows)


def _guard_rails(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if findings:
        yield from ("", "## Guard-rails", "")
    rows = [
        [
            plain(each["rail"].replace("_", " ")),
            plain(each["status"].replace("_", " ")),
            *(_number(each[name], ".4g") for name in ("found", "limit")),
            plain(each["reason"]),
        ]
        for each in findings
    ]
    yield from _table(["guard-rail", "", "found", "limit", "why"], rows)


def _back_test(document: Mapping[str, Any] | None, confidence: float) -> Iterator[str]:
    if document is None or not document["folds"]:
        return
    yield from ("", f"## Back-test by {plain(document['metric'])}", "")
    rows = [
        [f"{each['start']} to {each['end']}", f"{each['trained_on']:,}", f"{each['rows']:,}", *_of_both(each)]
        for each in document["folds"]
    ]
    heads = ["fold", "trained on", "rows", "champion", "trained anew", "gain", f"{confidence:.0%} interval"]
    yield from _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield from (f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def _number(value: float | None, form: str = ".4f") -> str:
    return "not known" if value is None else f"{value:{form}}"


def _of_both(item: Mapping[str, Any]) -> list[str]:
    """Return how both versions did, the gain and its interval."""
    interval = "not known" if item["low"] is None else f"{item['low']:+.4f} to {item['high']:+.4f}"
    return [_number(item["champion"]), _number(item["challenger"]), _number(item["gain"], "+.4f"), interval]
