"""The engine: task groups as Faust apps, delivering blocks exactly once. The only place that knows Faust's insides."""
