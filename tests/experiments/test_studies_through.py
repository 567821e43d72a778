"""A study's worlds go through the topics as they go through the loop."""

from importlib import import_module

import pytest

from experiments.studies.command import check, simulate
from experiments.studies.study import StudyError
from experiments.studies.table import load
from schemas.settings import Profile


def test_a_study_of_the_loop_goes_through_the_topics(capsys: pytest.CaptureFixture[str]) -> None:
    """Each condition of a study of the loop comes to the same events through the topics in memory."""
    study = import_module("experiments.studies.budget").STUDY
    assert check([study], Profile("default"), "memory", scenarios=40) == 0
    printed = capsys.readouterr().out
    assert all(f"{study.name}, {condition}: " in printed for condition in study.conditions)


def test_a_study_of_rules_alone_has_nothing_to_send() -> None:
    """A study without a loop says so."""
    with pytest.raises(StudyError, match="rules alone"):
        check([load("sign")], Profile("default"), "memory", scenarios=40)


def test_a_length_without_topics_is_refused() -> None:
    """A study's own runs have the length that it says: another one is an error, not passed over."""
    with pytest.raises(StudyError, match="--scenarios 100 is for --through"):
        simulate("sign", scenarios=100)
