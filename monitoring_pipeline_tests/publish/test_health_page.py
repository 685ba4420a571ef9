"""The health page as text: what it says, that data cannot write into it, and how large it gets."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from monitoring_pipeline.judge.status import Status
from monitoring_pipeline.judge.verdicts import Level
from monitoring_pipeline.publish.health_page import (
    Listed,
    metric_words,
    number,
    render_index,
    render_page,
    shade,
    status_sentence,
)
from monitoring_pipeline_tests.health_pages import BROKE, NOW, health_page, row
from monitoring_pipeline_tests.verdicts import verdict

ATTACK = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&"


class Elements(HTMLParser):
    """Every element of a page, with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, name: str) -> list[str]:
        return [value for _, attributes in self.found for key, value in attributes.items() if key == name and value]


def page_of(**more: object) -> str:
    return render_page(health_page(**more), index="index.html")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def page() -> str:
    return page_of()


def test_the_first_thing_a_page_says_is_how_the_model_is_since_when_and_why(page: str) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]).split())
    sentence = (
        "flight_delays is critical since 22 April 2013, 01:00 UTC because ROC AUC over 7d fell to 0.616, "
        "limit 0.637, baseline 0.671."
    )
    assert text.index(sentence) < 150
    assert "Likeliest cause: concept drift (85% sure). Next: Retrain." in text


@pytest.mark.parametrize("level", list(Level))
def test_only_a_fine_model_is_shown_as_one(level: Level) -> None:
    status = Status(level, BROKE, "as it is", BROKE, is_stale=False)
    made = page_of(status=status, because="")
    assert ('<div class="status ok"' in made) is (level is Level.OK)
    assert f'<div class="status {level.value}"' in made
    assert f"<title>flight_delays: {status.word}</title>" in made


def test_an_old_status_is_said_to_be_old(page: str) -> None:
    assert "This is old" not in page
    old = Status(Level.UNKNOWN, BROKE, "nothing has been judged since", BROKE, is_stale=True)
    made = page_of(status=old, because="")
    assert "This is old" in made
    assert "flight_delays is unknown since 22 April 2013, 01:00 UTC: nothing has been judged since." in made


def test_a_model_that_was_never_judged_has_a_page_that_says_so() -> None:
    status = Status(Level.UNKNOWN, None, "no hour has been judged yet", None, is_stale=True)
    bare = health_page(status=status, because="", days=(), courses=(), features=(), troubles=(), versions=())
    made = render_page(bare, index="index.html")
    assert "flight_delays is unknown: no hour has been judged yet." in made
    assert "<svg" not in made


def test_sections_without_anything_to_show_say_that(page: str) -> None:
    made = page_of(courses=(), features=(), quality=(), troubles=(), changes=(), promises=(), versions=(), measured=())
    for said in (
        "No performance metric",
        "No drift",
        "No incident since",
        "No retraining since",
        "Nothing is promised",
    ):
        assert said in made
        assert said not in page


def test_what_data_hold_is_shown_and_never_run() -> None:
    feature = replace(row(ATTACK, [Level.OK] * 25), worst=())
    feature = replace(feature, bins=(feature.bins[0]._replace(label=ATTACK),))
    page = health_page()
    trouble = page.troubles[0]._replace(rules=(ATTACK,), what=ATTACK, cause=ATTACK, runbook="javascript:alert(3)")
    hostile = replace(
        page,
        model=ATTACK,
        because=ATTACK,
        description=ATTACK,
        owners=(ATTACK,),
        features=(feature,),
        leading=trouble,
        troubles=(trouble,),
        changes=(page.changes[0]._replace(why=ATTACK, after=ATTACK[:8]),),
        versions=(page.versions[0]._replace(version=ATTACK[:12]),),
    )
    listed = [Listed(ATTACK, ATTACK, hostile, "x.html")]
    for made in (render_page(hostile, index="index.html"), render_index(listed, as_of=NOW)):
        elements = Elements(made)
        assert {tag for tag, _ in elements.found}.isdisjoint({"script", "img", "iframe", "object", "form"})
        assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
        assert not [address for address in elements.of("href") if address.startswith("javascript")]
        assert "&lt;script&gt;" in made


def test_a_page_asks_for_nothing_and_says_so_itself(page: str) -> None:
    elements = Elements(page)
    assert elements.of("src") == []
    assert {address for address in elements.of("href") if not address.startswith("#")} == {
        "index.html",
        "https://runbooks.example/low-accuracy",
    }
    policy = next(
        each["content"] for tag, each in elements.found if each.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    # Names of the formats of SVG are written as addresses.
    assert re.sub(r'xmlns(:\w+)?="[^"]+"', "", page).count("://") == 1, "the runbook"


def test_charts_are_drawn_for_both_sizes_in_colours_of_the_page(page: str) -> None:
    drawn = re.findall(r"<svg aria-hidden=\"true\" focusable=\"false\" data-size.*?</svg>", page, re.S)
    assert len(drawn) == 2 * 2
    assert "SEV-1, open" in "".join(drawn)
    colours = {value for svg in drawn for value in re.findall(r'(?:fill|stroke)="([^"]+)"', svg)}
    assert {value for value in colours if value.startswith("var(")} >= {
        "var(--observed)",
        "var(--estimate)",
        "var(--ink)",
    }
    assert {value for value in colours if not value.startswith("var(")} <= {"none", "transparent"}


def test_no_two_elements_have_the_same_id_and_every_label_names_one(page: str) -> None:
    elements = Elements(page)
    ids = elements.of("id")
    assert sorted(ids) == sorted(set(ids))
    assert set(elements.of("aria-labelledby")) <= set(ids)
    assert {address[1:] for address in elements.of("href") if address.startswith("#")} <= set(ids)


def test_a_page_stays_small_with_as_many_columns_and_days_as_it_may_have() -> None:
    made = page_of(columns=60, length=30)
    assert len(made.encode()) < 1_000_000
    assert len(page_of(columns=15).encode()) < 400_000


def test_a_cell_is_shaded_by_its_way_to_the_limit_and_unknown_ones_are_no_shade_of_fine() -> None:
    assert [shade(verdict(Level.OK, value=value, threshold=0.3)) for value in (0.0, 0.15, 0.29)] == ["a", "b", "d"]
    assert [shade(verdict(level)) for level in (Level.WARNING, Level.CRITICAL, Level.UNKNOWN)] == ["w", "c", "u"]
    assert shade(None) == "u"


def test_metrics_and_numbers_are_written_as_people_read_them() -> None:
    names = ("performance.roc_auc", "drift.psi", "quality.null_rate", "business.false_alarm_cost", "slo.burn_rate")
    words = ["ROC AUC", "drift PSI", "quality null rate", "false alarm cost", "slo burn rate"]
    assert [metric_words(name) for name in names] == words
    assert [number(value) for value in (0.61834, 12.3456, 4321.7, None, float("nan"))] == [
        "0.618",
        "12.3",
        "4,322",
        "–",
        "–",
    ]


def test_the_index_begins_with_what_needs_somebody_and_links_the_pages_there_are() -> None:
    levels = {"b": Level.OK, "a": Level.UNKNOWN, "d": Level.WARNING, "c": Level.CRITICAL}
    statuses = {name: Status(level, BROKE, "so it is", BROKE, is_stale=False) for name, level in levels.items()}
    listed = [Listed(name, "", status, "d.html" if name == "d" else "") for name, status in statuses.items()]
    made = render_index(listed, as_of=NOW)
    places = [made.index(status_sentence(name, statuses[name])) for name in "cdab"]
    assert places == sorted(places)
    assert Elements(made).of("href") == ["#main", "d.html"]
    assert made.count("No page has been made of it yet") == 3


def test_the_template_is_part_of_the_package_and_has_no_script_of_its_own() -> None:
    from monitoring_pipeline.publish import health_page as module

    template = Path(str(module.__file__)).with_suffix(".html.j2").read_text()
    assert "<script" not in template
    assert "style=" not in template


def test_days_count_as_beyond_when_they_end_there() -> None:
    levels: list[Level | None] = [Level.OK, None, Level.UNKNOWN, Level.WARNING, Level.CRITICAL]
    assert row("temp", levels).beyond == 2
