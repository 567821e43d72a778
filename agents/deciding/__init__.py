"""Decider and learner: two agents over one state, one scope in one place with one writer."""
