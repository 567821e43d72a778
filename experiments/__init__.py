"""Simulator, demo, studies and evaluation, beside the rings that they use."""
