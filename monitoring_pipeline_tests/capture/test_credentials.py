import copy
import json
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest

from monitoring_pipeline.capture.credentials import Credential

TEXT = "canary-of-credentials"


@dataclass
class Holder:
    token: Credential


def test_a_credential_is_read_where_it_is_asked_for_by_name_alone() -> None:
    assert Credential(TEXT).reveal() == TEXT
    assert Credential(TEXT)
    assert not Credential("")


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>40}".format, "%s".__mod__, ascii])
def test_a_credential_does_not_print(show: Callable[[object], str]) -> None:
    for each in (Credential(TEXT), [Credential(TEXT)], Holder(Credential(TEXT))):
        try:
            shown = show(each)
        except TypeError as refused:
            shown = str(refused)
        assert TEXT not in shown


@pytest.mark.parametrize("spread", [json.dumps, pickle.dumps, copy.copy, copy.deepcopy, vars])
def test_a_credential_has_no_other_form(spread: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as refused:
        spread(Credential(TEXT))
    assert TEXT not in str(refused.value)


def test_a_record_that_holds_a_credential_is_not_taken_apart() -> None:
    with pytest.raises(TypeError, match="does not leave its process"):
        asdict(Holder(Credential(TEXT)))


def test_a_traceback_with_its_variables_shows_no_credential() -> None:
    token, holder = Credential(TEXT), Holder(Credential(TEXT))
    try:
        raise ValueError(f"refused {token} of {holder}")
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "Credential(***)" in shown
    assert TEXT not in shown
