"""The studies, in the order of the index: the name of each and the module that holds its `STUDY`."""

from importlib import import_module

from experiments.studies.study import Study, StudyError

STUDIES = {
    "sign": "experiments.studies.sign",
    "convergence": "experiments.studies.convergence",
    "silence": "experiments.studies.silence",
    "forgetting": "experiments.studies.forgetting",
    "reducibility": "experiments.studies.reducibility",
    "noisy-loss": "experiments.studies.noisy_loss",
    "delayed-loss": "experiments.studies.delayed_loss",
    "teams": "experiments.studies.teams",
    "interval": "experiments.studies.interval",
    "monitor-ablation": "experiments.studies.monitor_ablation",
    "adversaries": "experiments.studies.adversaries",
}


def load(name: str) -> Study:
    """Return a study by its name.

    Raises:
        StudyError: There is none of this name.
    """
    if name not in STUDIES:
        raise StudyError(f"there is no study {name!r}; `npo simulate list` shows those there are")
    study: Study = import_module(STUDIES[name]).STUDY
    return study
