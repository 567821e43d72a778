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
    "threshold-ablation": "experiments.studies.threshold_ablation",
    "red-button-ablation": "experiments.studies.red_button_ablation",
    "budget": "experiments.studies.budget",
    "exploration": "experiments.studies.exploration",
    "mis-declared-costs": "experiments.studies.mis_declared_costs",
    "noise": "experiments.studies.noise",
    "default-against-paper": "experiments.studies.default_against_paper",
    "trust": "experiments.studies.trust",
    "teams-in-the-loop": "experiments.studies.teams_in_the_loop",
    "drift": "experiments.studies.drift",
    "reward-against-alignment": "experiments.studies.reward_against_alignment",
    "targeted-retraining": "experiments.studies.targeted_retraining",
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
