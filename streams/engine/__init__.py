"""The engine: task groups as Faust apps, delivering blocks exactly once. The only place that knows Faust's insides."""

from streams.engine.worker import run_worker

__all__ = ["run_worker"]
