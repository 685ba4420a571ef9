"""The charts of the health page: Vega-Lite, drawn once as SVG whose colours the page's style sheet decides.

Each chart comes twice, for wide and for narrow screens, because text in an SVG that is scaled down cannot be read.
Add a chart here when something has a course over time. Keep tables and everything that is one number out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitoring_pipeline.publish.health_page import Course, HealthPage

WIDTHS = {"wide": 980, "narrow": 326}
AXIS = 40
"""Pixels left of a plot, the same for all of them: they are read one below the other."""

MOST_INCIDENTS = 10
"""Incidents that are drawn, the newest ones; the table has all of the period."""

SHAPES = {
    "promoted": "triangle-up",
    "rolled_back": "triangle-down",
    "rejected": "cross",
    "blocked": "square",
    "failed": "diamond",
    "other": "circle",
}
"""What became of a retraining."""

INK, SOFT, LINE, BAD = "var(--ink)", "var(--soft)", "var(--line)", "var(--crit)"

CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "padding": {"left": 0, "right": 14, "top": 2, "bottom": 2},
    "view": {"stroke": None},
    "axis": {"labelColor": SOFT, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE, "labelFontSize": 11},
    "axisY": {"minExtent": AXIS, "maxExtent": AXIS, "title": None},
    "text": {"align": "left", "fontSize": 11, "color": INK},
}

Spec = dict[str, Any]


def course_charts(course: "Course", page: "HealthPage") -> str:
    """Return one performance metric with its estimate, baseline and label coverage, incidents shaded."""
    return "".join(_svg(_course(course, page, size), f"{course.metric}-{size}", size) for size in WIDTHS)


def history_charts(page: "HealthPage") -> str:
    """Return versions, incidents and retrainings on one time axis."""
    return "".join(_svg(_history(page, size), f"history-{size}", size) for size in WIDTHS)


def _course(course: "Course", page: "HealthPage", size: str) -> Spec:
    rows = []
    for at, observed, estimate, coverage in course.points:
        row: Spec = {"at": _ms(at), "coverage": coverage, "level": observed.level.value if observed else ""}
        if observed:
            seen = observed.signal
            row |= {"value": seen.value, "low": seen.low, "high": seen.high, "baseline": seen.baseline_value}
        if estimate:
            row |= {"expected": estimate.value, "expected_low": estimate.low, "expected_high": estimate.high}
        rows.append(row)
    bare = _x(page, size) | {"axis": {"labels": False, "ticks": False, "grid": False, "title": None}}

    def layer(field: str, mark: Spec, **encoding: Any) -> Spec:
        scale = {"field": field, "type": "quantitative", "scale": {"zero": False}, "axis": {"tickCount": 4}}
        return {"mark": mark, "encoding": {"x": bare, "y": scale} | encoding}

    def band(low: str, high: str, colour: str) -> Spec:
        return layer(low, {"type": "area", "color": colour, "opacity": 0.18}, y2={"field": high})

    shapes = {"domain": ["warning", "critical"], "range": ["triangle-up", "square"]}
    beyond = layer(
        "value",
        {"type": "point", "filled": True, "size": 45, "color": BAD, "opacity": 1},
        shape={"field": "level", "scale": shapes, "legend": None},
    ) | {"transform": [{"filter": {"field": "level", "oneOf": ["warning", "critical"]}}]}
    dashes = {"type": "line", "strokeWidth": 1.5}
    above = [
        *_behind(page, bare),
        band("expected_low", "expected_high", "var(--estimate)"),
        band("low", "high", "var(--observed)"),
        layer("baseline", dashes | {"color": SOFT, "strokeDash": [2, 3], "interpolate": "step-after"}),
        layer("expected", dashes | {"color": "var(--estimate)", "strokeDash": [6, 3]}),
        layer("value", {"type": "line", "color": "var(--observed)", "strokeWidth": 2}),
        beyond,
    ]
    share = {"field": "coverage", "type": "quantitative", "scale": {"domain": [0, 1]}}
    share["axis"] = {"values": [0, 1], "format": "%", "grid": False}
    below = {"mark": {"type": "area", "color": SOFT, "opacity": 0.45}, "encoding": {"x": _x(page, size), "y": share}}
    width = WIDTHS[size] - AXIS
    parts = [{"layer": above, "width": width, "height": 170}, below | {"width": width, "height": 34}]
    return {"data": {"values": rows}, "vconcat": parts, "spacing": 8}


def _behind(page: "HealthPage", x: Spec) -> list[Spec]:
    """Return what happened behind a course: incidents as shades, promotions and rollbacks as lines."""
    spans = [{"at": _ms(start), "until": _ms(end)} for start, end in _spans(page)]
    moves = [each for each in _moves(page) if each["kind"] in ("promoted", "rolled_back")]
    until = {"field": "until", "type": "temporal"}
    return [
        _layer(spans, {"type": "rect", "color": BAD, "opacity": 0.1}, x=x, x2=until),
        _layer(moves, {"type": "rule", "color": INK, "strokeDash": [1, 2]}, x=x),
        _layer(moves, {"type": "text", "dx": 3, "y": 8}, x=x, text={"field": "label"}),
    ]


def _history(page: "HealthPage", size: str) -> Spec:
    start, end = _bounds(page)
    drawn = sorted(page.troubles, key=lambda each: each.number)[-MOST_INCIDENTS:]
    spans = [("served", "served", each.first, each.last, f"v{each.version}") for each in page.versions]
    for each in drawn:
        label = f"SEV-{each.sev}" + ("" if each.ended else ", open")
        spans.append((f"#{each.number}", each.severity.value, each.began, each.ended or end, label))
    bars = [
        {"lane": lane, "kind": kind, "at": _ms(max(low, start)), "until": _ms(min(high, end)), "label": label[:14]}
        for lane, kind, low, high, label in spans
    ]
    moves = [{**each, "lane": "models"} for each in _moves(page)]
    lanes = [*dict.fromkeys(bar["lane"] for bar in bars), "models"]
    place = {
        "x": _x(page, size),
        "y": {"field": "lane", "scale": {"domain": lanes, "padding": 0.25}, "axis": {"ticks": False}},
    }
    colours = {"domain": ["served", "warning", "critical"], "range": ["var(--observed)", "var(--warn)", BAD]}
    shapes = {"domain": [*SHAPES], "range": [*SHAPES.values()]}
    layers = [
        _layer(
            bars,
            {"type": "bar", "opacity": 0.35, "height": 15, "stroke": INK, "strokeWidth": 0.5},
            **place,
            x2={"field": "until", "type": "temporal"},
            color={"field": "kind", "scale": colours, "legend": None},
        ),
        _layer(bars, {"type": "text", "dx": 4}, **place, text={"field": "label"}),
        _layer(
            moves,
            {"type": "point", "filled": True, "size": 70, "color": INK, "opacity": 1},
            **place,
            shape={"field": "kind", "scale": shapes, "legend": None},
        ),
        _layer(moves, {"type": "text", "dx": 7}, **place, text={"field": "label"}),
    ]
    return {"layer": layers, "width": WIDTHS[size] - AXIS, "height": 24 * len(lanes)}


def _layer(rows: Sequence[Mapping[str, object]], mark: Spec, **encoding: Any) -> Spec:
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def _moves(page: "HealthPage") -> list[dict[str, object]]:
    start, end = _bounds(page)
    return [
        {
            "at": _ms(each.at),
            "label": f"v{each.after or each.version}"[:8],
            "kind": each.kind if each.kind in SHAPES else "other",
        }
        for each in page.changes
        if start <= each.at <= end
    ]


def _x(page: "HealthPage", size: str) -> Spec:
    start, end = _bounds(page)
    form = "%-d %b" if end - start > timedelta(days=4) else "%-d %b %H:%M"
    axis = {"format": form, "tickCount": 10 if size == "wide" else 4, "labelFlush": True, "title": None}
    scale = {"type": "utc", "domain": [_ms(start), _ms(end)]}
    return {"field": "at", "type": "temporal", "scale": scale, "axis": axis}


def _bounds(page: "HealthPage") -> tuple[datetime, datetime]:
    assert page.start is not None, "a page without an hour has no charts"
    return page.start, max([page.days[-1], *(each.at for each in page.changes)])


def _spans(page: "HealthPage") -> list[tuple[datetime, datetime]]:
    """Return the time with an incident, without overlaps: twice as dark would say twice as bad."""
    start, end = _bounds(page)
    spans: list[tuple[datetime, datetime]] = []
    for each in sorted(page.troubles, key=lambda each: each.began):
        low, high = max(each.began, start), min(each.ended or end, end)
        if spans and low <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], high)
        elif low < high:
            spans.append((low, high))
    return spans


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _svg(spec: Spec, name: str, size: str) -> str:
    """Return a chart as SVG for one size of screens; what it says is in the table beside it."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(json.dumps(spec | {"config": CONFIG}))
    # Half of the text is for screen readers, which have the table, and for style sheets that this page has not.
    drawn = re.sub(r' (?:class|role|aria-[a-z]+|pointer-events|font-family)="[^"]*"', "", drawn)
    drawn = re.sub(r'<path d="M0,0h[^"]*"(?: stroke="[^"]*")?/>', "", drawn)
    # Ids are of the whole page: the clip of one chart must not be that of another.
    drawn = re.sub(r'(\bid="|url\(#)', rf"\g<1>{re.sub(r'[^a-z]', '-', name)}-", drawn)
    return drawn.replace("<svg ", f'<svg aria-hidden="true" focusable="false" data-size="{size}" ', 1)
