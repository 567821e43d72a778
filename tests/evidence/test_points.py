"""Every point that the learning rules have to reach, over 20 seeds; the runs are those of `python -m experiments.evidence`."""

import os
from pathlib import Path

import pytest

from experiments.evidence.page import limits, measured
from experiments.evidence.points import POINTS, Point
from experiments.evidence.running import RUNS, conditions, gather
from experiments.studies.command import RESULTS, SEEDS

# What is missing is run here; all of it takes more than an hour.
pytestmark = [pytest.mark.evidence, pytest.mark.timeout(0)]
FILE = Path(__file__).resolve().parents[2] / RESULTS / RUNS
CASES = [pytest.param(point, id=point.name) for point in POINTS if point.held]


@pytest.mark.parametrize("point", CASES)
def test_a_point_is_reached(point: Point) -> None:
    """Over at least 20 seeds the number is within its bounds."""
    found = gather(FILE, conditions(point.conditions), range(SEEDS), os.cpu_count() or 1)
    assert point.met(found), f"measured {measured(point, found)}, to be {limits(point)}"
