"""Trials of a study over seeds, for the tests of what is to be reached."""

import numpy as np

from agents.scoring import Array
from experiments.studies.study import Study, Trial, number
from experiments.studies.table import load
from schemas.settings import Profile

PROFILE = Profile(name="default")


def trials(study: str, condition: str, seeds: int) -> list[Trial]:
    """Run the trials of one condition of a study."""
    known: Study = load(study)
    return [known.trial(seed, PROFILE, **known.conditions[condition]) for seed in range(seeds)]


def values(found: list[Trial], measure: str) -> Array:
    """Return one measure of trials, shape (seeds,)."""
    return np.array([number(trial, measure) for trial in found])
