"""The page and the JSON Schema of a monitor's YAML file, docs/reference/monitor.*, both from the settings classes.

Add here how a new kind of value is described. Keep sentences about keys out: they belong in the docstring of the
section that has them, where a key is named in backticks.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from monitoring_pipeline.describe import distances
from monitoring_pipeline.settings.checks import METRICS
from monitoring_pipeline.settings.monitor import Monitor
from monitoring_pipeline.settings.sections import PERFORMANCE_METRICS

REFERENCE = Path(__file__).parent / "reference"
DURATION, WINDOW = r"^\d+[mhdw]$", r"^\d+[hdw]$"
MOMENT = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)$"
METRIC: JsonSchemaValue = {"anyOf": [{"enum": sorted(METRICS)}, {"type": "string", "pattern": r"^business\."}]}
A_METRIC: JsonSchemaValue = {"$ref": "#/$defs/Metric"}
CHECKED: Mapping[str, JsonSchemaValue] = {
    "_known_metric": {"enum": sorted(distances.METRICS)},
    "_performance_metric": {"enum": sorted(PERFORMANCE_METRICS)},
    "_canonical_window": {"pattern": WINDOW},
    "_canonical_span": {"pattern": r"^(\d+[hdw]|last_[1-9]\d*)$"},
}
"""What the validators of settings take, by their names, where it can be said in a schema."""

WORDS = {
    DURATION: "duration, such as `24h`",
    WINDOW: "window, such as `24h`",
    CHECKED["_canonical_span"]["pattern"]: "window, such as `24h` or `last_10000`",
    MOMENT: "time, such as `2026-04-01T00:00Z`",
}
OWN_METRIC = "`business.NAME`"
CONDITIONS = {
    "SignalForm": "condition",
    "AllForm": "condition: all",
    "AnyForm": "condition: any",
    "NotForm": "condition: not",
    "AtLeastForm": "condition: at_least",
}
"""What may stand wherever a condition may; they hold each other, so no path in the file names one."""
INTRODUCTION = """\
One file for each model, in `monitors/`. Only `model`, `start` and `features` are required. What cannot be, unknown keys
and text where a number belongs among it, is refused with its line: `monitoring-pipeline check-config`. Made by
`make docs` from the classes that read the file.

**In an editor**, [monitor.schema.json](monitor.schema.json) completes and explains keys while you write. With the YAML
extension of VS Code, and every other editor that uses `yaml-language-server`, name it in the first line of a file, by
path or by the address this site is published at:

```yaml
# yaml-language-server: $schema=../docs/reference/monitor.schema.json
model: churn
```

or once for all of them in `.vscode/settings.json`:

```json
{"yaml.schemas": {"docs/reference/monitor.schema.json": "monitors/*.yaml"}}
```

A duration is a whole number of minutes, hours, days or weeks: `15m`, `24h`, `7d`, `2w`. A window is the same without
minutes.

The schema knows keys, kinds and the names of metrics. Whether a condition names a column that exists, and whatever else
needs two places of the file, only `check-config` sees.
"""


class AsWritten(GenerateJsonSchema):
    """The schema of what people write, where a duration is `24h` and a section can be its first key alone."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"  # editors know it best, and nothing here is newer

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        """Return what a duration looks like."""
        return {"type": "string", "pattern": DURATION}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        """Return what a time looks like: editors would ask for seconds, which nobody writes."""
        return {"type": "string", "pattern": MOMENT}

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        """Return the schema with what a validator of ours adds to it."""
        check = schema["function"]["function"]
        added = CHECKED.get(check.__name__, {})
        if check.__qualname__.startswith("matching."):
            said = inspect.getclosurevars(check).nonlocals
            added = {"pattern": f"^(?:{said['pattern']})$", "patternErrorMessage": said["words"]}
        return super().function_after_schema(schema) | added

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Return the schema; a section behind such a validator may be written as the value of its first key."""
        found = super().function_before_schema(schema)
        return {"anyOf": [found, {"first_key_of": found["$ref"]}]} if "$ref" in found else found

    def encode_default(self, dft: Any) -> Any:
        """Return a default as it would be written; that of a section follows from those of its keys."""
        if isinstance(dft, timedelta):
            return duration(dft)
        return super().encode_default(dft)

    def generate(self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """Return the schema without what only says in other words what is there, with descriptions of keys."""
        made = super().generate(schema, mode)
        sections = made["$defs"]
        for node in nodes(made):
            node.pop("discriminator", None)
            if "patternProperties" in node:
                node["additionalProperties"] = False
            if isinstance(node.get("default"), dict):
                del node["default"]
            if "first_key_of" in node:
                section = sections[node.pop("first_key_of").rpartition("/")[2]]
                node |= next(iter(section["properties"].values()))
            if isinstance(node.get("properties"), dict):
                for key, value in node["properties"].items():
                    value.pop("title", None)
                    if told := about(key, node.get("description", "")):
                        value["description"] = told
            if isinstance(node.get("title"), str):
                del node["title"]
            if isinstance(node.get("description"), str):
                node["description"] = " ".join(node["description"].split())
        sections["Metric"] = METRIC
        sections["SignalForm"]["properties"]["metric"] = A_METRIC
        made["properties"]["limits"]["propertyNames"] = A_METRIC
        for key, word in (("training_window", "all"), ("trainer", "none")):  # words that become no value
            sections["Retraining"]["properties"][key]["anyOf"].append({"const": word})
        return {"$schema": self.schema_dialect, "title": "A monitor of monitoring-pipeline"} | made


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping of a schema, outer ones first."""
    if isinstance(schema, dict):
        yield schema
    for part in list(schema.values()) if isinstance(schema, dict) else schema if isinstance(schema, list) else []:
        yield from nodes(part)


def about(key: str, docstring: str) -> str:
    """Return the sentences of a docstring that name a key."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", " ".join(docstring.split()))
    return " ".join(sentence for sentence in sentences if re.search(rf"`{key}[`.]", sentence))


def duration(length: timedelta) -> str:
    """Return a length as it is written, in the largest unit that is whole."""
    minutes = round(length.total_seconds() / 60)
    sizes = (("d", 24 * 60), ("h", 60), ("m", 1))
    if minutes == 24 * 60:
        return "24h"
    return next(f"{minutes // size}{unit}" for unit, size in sizes if minutes % size == 0)


def page(schema: JsonSchemaValue) -> str:
    """Return the page: a table of keys for every section, in the order of the file."""
    places = {"": ("The file", schema)}
    for path, section in found_sections(schema):
        form = schema["$defs"][section]
        kind = form["properties"].get("kind", {}).get("const")
        title = CONDITIONS.get(section) or (f"{path}: {kind}" if kind else path)
        places[section] = (title, form)
    parts = ["# Monitor settings", INTRODUCTION.rstrip()]
    for section, (title, form) in places.items():
        rows = [row(key, value, form, places) for key, value in form["properties"].items()]
        table = "\n".join(["| key | takes | default |", "|---|---|---|", *rows])
        parts += [f"## `{title}`" if section else f"## {title}", prose(form["description"]), table]
    return "\n\n".join(parts) + "\n"


def found_sections(schema: JsonSchemaValue) -> Iterator[tuple[str, str]]:
    """Yield path and name of every section, each where the file first may have it."""
    sections, seen = schema["$defs"], set[str]()
    waiting: list[tuple[str, Any]] = [("", schema)]
    while waiting:
        path, node = waiting.pop(0)
        name = node.get("$ref", "").rpartition("/")[2]
        if name in seen or name not in sections or "properties" not in sections[name]:
            waiting = [*below(path, node), *waiting]
            continue
        for found in CONDITIONS if name in CONDITIONS else (name,):
            seen.add(found)
            place = "condition" if found in CONDITIONS else path
            yield place, found
            waiting = [*below(place, sections[found]), *waiting]


def below(path: str, node: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the parts of a node with their paths in the file."""
    keys = [(f"{path}.{key}".lstrip("."), value) for key, value in node.get("properties", {}).items()]
    either = [(path, option) for kind in ("anyOf", "oneOf") for option in node.get(kind, [])]
    items = [(f"{path}[]", node["items"])] if "items" in node else []
    named = (node.get("additionalProperties"), *node.get("patternProperties", {}).values())
    return keys + either + items + [(f"{path}.NAME", each) for each in named if isinstance(each, dict)]


def row(key: str, value: dict[str, Any], form: dict[str, Any], places: Mapping[str, tuple[str, Any]]) -> str:
    """Return the row of a key."""
    default = "required" if key in form.get("required", []) else shown(value.get("default", ...))
    return f"| `{key}` | {takes(value, places).replace('|', chr(92) + '|')} | {default} |"


def shown(default: Any) -> str:
    """Return a default as it would be written; nothing for a section, whose keys have theirs."""
    if default is ... or default in ([], ""):
        return ""
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    return "none" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def takes(value: dict[str, Any], places: Mapping[str, tuple[str, Any]]) -> str:
    """Return in words what a key takes."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        if name in CONDITIONS:
            return "[a condition](#condition)"
        if name in places:
            title = places[name][0]
            return f"[`{title}`](#{re.sub(r'[^a-z0-9_ -]', '', title.lower()).replace(' ', '-')})"
        return takes(SCHEMA["$defs"][name], places)
    if "anyOf" in value or "oneOf" in value:
        options = [takes(option, places) for option in [*value.get("anyOf", []), *value.get("oneOf", [])]]
        return ", or ".join(dict.fromkeys(options))
    if "enum" in value:
        names = value["enum"]
        return " or ".join(f"`{each}`" for each in names) if len(names) < 9 else "[a metric](../metrics.md)"
    if "const" in value:
        return f"`{value['const']}`"
    if value.get("type") == "array":
        return f"list of {takes(value['items'], places)}{', not empty' if value.get('minItems') else ''}"
    if value.get("type") == "object":
        inner = next(iter(value.get("patternProperties", {}).values()), value.get("additionalProperties", {}))
        return f"mapping of names to {takes(inner, places)}"
    return scalar(value)


def scalar(value: dict[str, Any]) -> str:
    """Return in words what a single value may be."""
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    if value.get("pattern") == r"^business\.":
        return OWN_METRIC
    if value.get("format") == "date":
        return "date"
    if value.get("pattern") in WORDS:
        return WORDS[value["pattern"]]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    return ", ".join([words.get(value.get("type", ""), "`null`"), *limits])


def prose(text: str) -> str:
    """Return a docstring as Markdown: tags outside of backticks are text."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"<(?=\w)", r"\<", part) for part in parts[::2]]
    return "".join(parts)


SCHEMA = Monitor.model_json_schema(schema_generator=AsWritten)


def files() -> dict[str, str]:
    """Return the text of every file by its name below docs/reference."""
    text = json.dumps(SCHEMA, indent=1, ensure_ascii=False)
    return {"monitor.schema.json": f"{text}\n", "monitor.md": page(SCHEMA)}


def main() -> None:
    """Write the files."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in files().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
