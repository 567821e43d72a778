"""Simulated studies: each asks one question of the rules in `agents`, under several conditions, over many seeds."""
