"""The trainer: challengers of the model in force, judged on what none of them has seen, and put in force when commanded."""
