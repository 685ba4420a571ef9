import pytest

from monitoring_pipeline.settings.documents import looks_secret, read_document

TEXT = """\
model: churn
rules:
  - name: a
    condition:
      all:
        - {metric: drift.psi,
           above: 1}
  - name: b
at: 2026-04-01T00:00:00+02:00
share: .5
off: no
"""


def test_plain_data_keeps_times_as_they_were_written_and_words_as_words() -> None:
    data = read_document(TEXT, "churn.yaml").data

    assert (data["at"], data["share"], data["off"]) == ("2026-04-01T00:00:00+02:00", 0.5, "no")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("model",), 1),
        (("rules", 0), 3),
        (("rules", 0, "condition", "all", 0, "metric"), 6),
        (("rules", 0, "condition", "all", 0, "above"), 7),
        (("rules", 0, "condition", "all", 0, "missing"), 6),
        (("rules", 1, "missing", "deeper"), 8),
        (("missing",), 1),
    ],
)
def test_every_path_has_the_line_it_is_on_or_that_of_what_is_around_it(path: tuple[str | int, ...], line: int) -> None:
    assert read_document(TEXT, "churn.yaml").line_of(path) == line


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("xoxb-1234", True),
        ("https://hooks.slack.com/services/T/B/x", True),
        ("postgresql://me:pw@host/db", True),
        ("-----BEGIN PRIVATE KEY-----", True),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", True),
        ("MONITORING_WEBHOOK_SECRET", False),
        ("SLACK_BOT_TOKEN", False),
        ("https://example.com/a:b@c", False),
        ("postgresql://me@host:5432/db", False),
        ("sqlite:///monitoring.db", False),
    ],
)
def test_secrets_are_told_from_what_only_names_them(text: str, secret: bool) -> None:
    assert looks_secret(text) is secret
