import re
import runpy

from monitoring_pipeline_tests.pages import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text()


def test_the_figures_of_the_comparison_are_those_measured_last() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "build_comparison.py"))["comparison"]()
    assert made == PAGE, "A figure was measured again since the page was made: run `make docs`."
    assert len(re.findall(r"^\| [\w ,.]+ \|( [\d,.]+ \|)+$", made, flags=re.M)) == 3 + 6


def test_every_source_is_referred_to_and_every_reference_has_one() -> None:
    text, _, sources = PAGE.partition("## Sources")
    assert {int(number) for number in re.findall(r"\[(\d)\]", text)} == set(
        map(int, re.findall(r"^(\d)\. \[", sources, flags=re.M))
    )
