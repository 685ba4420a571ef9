"""Writes docs/licences.md: what is installed with the package, under which licence, from the metadata of each.

Add a licence to `ALLOWED` when it lets anyone use, change and pass on what is under it, without asking that of the
code that uses it. Keep what only development needs out: it is not passed on.
"""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parent / "licences.md"
PACKAGE = "monitoring-pipeline"
EXTRAS = ("server", "serving", "shap", "gpu", "statsd", "cloudwatch", "spark", "sql")

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    *("PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "CC0-1.0", "CNRI-Python", "TCL"),
    *("LGPL-3.0", "MPL-2.0"),  # of libraries that are used as they are: only changes to them would have to be given on
}

WORDS = {
    r"apache": "Apache-2.0",
    r"lgpl|lesser general public": "LGPL-3.0",
    r"mozilla|mpl": "MPL-2.0",
    r"\bmit\b": "MIT",
    r"(3|new|modified|three)[- ]?(clause)?[- ]?bsd|bsd[- ]3": "BSD-3-Clause",
    r"bsd[- ]2|simplified bsd": "BSD-2-Clause",
    r"\bbsd\b": "BSD-3-Clause",
    r"python software foundation|\bpsf": "PSF-2.0",
    r"\bisc\b": "ISC",
    r"unlicense": "Unlicense",
    r"zlib": "Zlib",
}
"""How licences are called by those who do not use SPDX, the first that fits."""

KNOWN = {"huey": "MIT", "skops": "MIT"}
"""Licences of packages whose metadata name none, as their own pages do."""


def runtime() -> dict[str, Distribution]:
    """Return what is installed because the package, or one of its extras for production, needs it."""
    found: dict[str, Distribution] = {}
    waiting = [(PACKAGE, frozenset(EXTRAS))]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        waiting += [
            (canonicalize_name(each.name), frozenset(each.extras))
            for each in map(Requirement, found[name].requires or ())
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras | {""})
        ]
    return dict(sorted((name, each) for name, each in found.items() if name != PACKAGE))


def licence_of(package: Distribution) -> str:
    """Return the licence as an SPDX expression, or what the metadata say where that is none."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    said = [each.rpartition("::")[2] for each in metadata.get_all("Classifier") or () if each.startswith("License ::")]
    said.append((metadata.get("License") or "").strip().partition("\n")[0])
    for text in said:
        for pattern, licence in WORDS.items():
            if re.search(pattern, text, re.IGNORECASE):
                return licence
    return KNOWN.get(canonicalize_name(package.name), said[-1] or "not stated")


def is_allowed(expression: str) -> bool:
    """Return whether one of the choices an expression gives has nothing but allowed licences."""
    choices = expression.replace("(", "").replace(")", "").split(" OR ")
    return any(all(part.partition(" WITH ")[0] in ALLOWED for part in choice.split(" AND ")) for choice in choices)


def page() -> str:
    """Return the page."""
    rows = [f"| {name} | {licence_of(package)} |" for name, package in runtime().items()]
    return "\n".join(
        [
            "# Licences",
            "",
            "The package is under the Apache licence, version 2.0. These are installed with it and its extras for "
            "production, each under its own licence, as its metadata name it; `make sbom` writes the same with "
            "versions, as CycloneDX. Written by `docs/build_licences.py`.",
            "",
            "| package | licence |",
            "|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
