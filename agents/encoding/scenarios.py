"""What a scenario says: symptoms with shape and label, features, and the action that the catalogue proposes."""

import re
from fnmatch import fnmatchcase
from math import log, log1p
from typing import Final, Literal, NamedTuple

import numpy as np

from agents.encoding.bank import Firing
from agents.encoding.detector import NAMES, SCALES, Array
from schemas.events import Action, Symptom
from schemas.settings import CatalogueAction

Shape = Literal["level", "spike", "variance", "flat"]

SYMPTOMS_MAX: Final = 5
UNUSUAL_Z: Final = 3.0
EXTREME_Z: Final = 6.0
# Logs of scores start here: a stream a hundredth of its scale says nothing.
SCORE_FLOOR: Final = 0.01
FLAT_SAMPLES: Final = 6
# A flat metric is news only where its usual step from sample to sample is a good part of its usual spread.
FLAT_STEP_SHARE: Final = 0.1
RETURNS: Final = 3
PERSISTENT_SHARE: Final = 0.5
MINUTE_MS: Final = 60_000

# m0, 0, v, value, metric_17: names that tell nothing, by which no class should be pooled.
UNNAMED: Final = re.compile(r"(?:[a-z]|metric|value|val|col|column|feature|field|dim|series|sensor|var)?[_\-. ]?\d*", re.IGNORECASE)
# Ids inside names (container, pod, process) would give each its own class.
INSTANCE: Final = re.compile(r"\d{4,}|(?=[a-f]*\d)[0-9a-f]{8,}")
# For a catalogue whose patterns leave a symptom without an action.
INSPECT: Final = Action("inspect", 0, reversible=True, description="Look at the entity; the catalogue names no action for its symptom.")


class Blamed(NamedTuple):
    """The most unusual metrics of a sample: their places, most unusual first, and what is said of each."""

    places: list[int]
    symptoms: tuple[Symptom, ...]


def blame(firing: Firing) -> Blamed:
    """Name up to five metrics by their largest z over the streams, each in its stream's scale; always at least one."""
    weight = (firing.z / SCALES[:, None]).max(axis=0)
    places = [int(place) for place in np.argsort(-weight, kind="stable")[:SYMPTOMS_MAX] if weight[place] > 0]
    unusual = [place for place in places if firing.z[:, place].max() > UNUSUAL_Z]
    places = unusual or places[:1]
    return Blamed(places, tuple(_symptom(firing, place) for place in places))


def label_of(metric: str, shape: Shape, direction: Literal["up", "down"]) -> str:
    """Return what classes pool by: metric and direction, or shape and direction where the metric's name tells nothing."""
    return f"{shape if UNNAMED.fullmatch(metric) else INSTANCE.sub('#', metric)}:{direction}"


def propose(actions: tuple[CatalogueAction, ...], label: str) -> Action:
    """Return the first action of the catalogue with a pattern that matches the label, in any case of letters."""
    for action in actions:
        if any(fnmatchcase(label.lower(), pattern.lower()) for pattern in action.symptoms):
            return Action(action.name, action.blast_radius, action.reversible, action.description)
    return INSPECT


def features_of(firing: Firing) -> dict[str, float]:
    """Return the named features, all finite. None tells the time of day or the entity: those would be learned by heart."""
    largest = firing.z.max(axis=0)
    unusual = largest > UNUSUAL_Z
    count = max(1, len(firing.names))
    signs = np.sign(firing.deviation[0])[unusual]
    features = {"log_score": log(firing.score)}
    for place, name in enumerate(NAMES):
        features[f"log_{name}"] = log(max(float(firing.now[place]), SCORE_FLOOR))
        features[f"log_{name}_highest"] = log(max(float(firing.highest[place]), SCORE_FLOOR))
    features["share_unusual"] = int(np.count_nonzero(unusual)) / count
    features["share_extreme"] = int(np.count_nonzero(largest > EXTREME_Z)) / count
    features["sign_balance"] = int(np.count_nonzero(signs > 0) - np.count_nonzero(signs < 0)) / max(1, len(signs))
    features["log_over_level"] = log(firing.score / max(firing.level, SCORE_FLOOR))
    features["log_candidates"] = log1p(firing.candidates)
    features["log_minutes"] = log1p((firing.time_ms - firing.start_ms) / MINUTE_MS)
    return features


def detector_scores(firing: Firing) -> dict[str, float]:
    """Return the streams' scores and their combination."""
    return {name: float(score) for name, score in zip(NAMES, firing.now, strict=True)} | {"combined": firing.score}


def excerpt_of(firing: Firing, blamed: Blamed) -> tuple[list[int], dict[str, list[float | None]]]:
    """Return the times of the last samples, and the blamed metrics' values at them (None where missing)."""
    known = ~np.isnan(firing.excerpt_times)
    values = {firing.names[place]: [None if np.isnan(v) else float(v) for v in firing.excerpt[known, place]] for place in blamed.places}
    return [int(time) for time in firing.excerpt_times[known]], values


def _symptom(firing: Firing, place: int) -> Symptom:
    metric = firing.names[place]
    value = float(firing.excerpt[-1, place])
    usual = value - float(firing.deviation[0, place])
    shape = _shape(firing, place)
    direction: Literal["up", "down"] = "up" if shape == "variance" or value >= usual else "down"
    z = float(firing.z[:, place].max())
    return Symptom(metric, label_of(metric, shape, direction), shape, direction, z, value, usual)


def _shape(firing: Firing, place: int) -> Shape:
    """Tell how a metric is unusual, from its last values (differences over one sample are the last stream)."""
    recent: Array = firing.excerpt[:, place]
    recent = recent[~np.isnan(recent)][-FLAT_SAMPLES:]
    moves = np.diff(recent)
    if len(recent) == FLAT_SAMPLES and not moves.any() and firing.spread[2, place] > FLAT_STEP_SHARE * firing.spread[0, place]:
        return "flat"
    if firing.z[0, place] < firing.z[1:, place].max() and np.count_nonzero(moves[1:] * moves[:-1] < 0) >= RETURNS:
        return "variance"
    deviation = float(firing.deviation[0, place])
    before = recent[:-1][-2:] - (float(recent[-1]) - deviation)
    if len(before) and (before * np.sign(deviation) >= PERSISTENT_SHARE * abs(deviation)).all():
        return "level"
    return "spike"
