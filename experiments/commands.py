"""The commands that `npo` offers beside its own: name, where it is, what it does."""

COMMANDS = (
    ("demo", "experiments.demo:demo", "Run the whole loop on simulated servers and operators."),
    ("operators", "experiments.operators:operators", "Answer recommendations as the demo's simulated operators."),
    ("evaluate", "experiments.evaluation:evaluate", "Run the pipeline over labelled telemetry; write what it surfaced."),
    ("simulate", "experiments.studies.command:simulate", "Run simulated studies of the rules; write their pages."),
    ("bench", "experiments.bench:bench", "Measure samples a second through the running system."),
)
