"""Trust in sources of answers: two coins a source, learned online by EM, and the budget that follows from them.

Element by element over floats or arrays of one shape.
"""

from typing import NamedTuple

import numpy as np

from agents.scoring import Channel, Number, predicted_like

PSEUDO_COUNT = 5.0
ROSTER_PRIOR = 0.8
UNKNOWN_PRIOR = 0.53
OUTCOME_WEIGHT = 5.0
FULL_TRUST = 0.6  # the J from which on a source has weight 1


class Coins(NamedTuple):
    """Counts with pseudo-counts: likes among wanted, overrides among unwanted."""

    likes: Number
    wanted: Number
    overrides: Number
    unwanted: Number


def prior(*, on_roster: bool) -> Coins:
    """Return the coins of a source that has not answered yet: five pseudo-counts at .8, or .53 for an unknown account."""
    share = ROSTER_PRIOR if on_roster else UNKNOWN_PRIOR
    return Coins(share * PSEUDO_COUNT, PSEUDO_COUNT, share * PSEUDO_COUNT, PSEUDO_COUNT)


def channel(coins: Coins) -> Channel:
    """Return the channel that the coins estimate."""
    return Channel(coins.likes / coins.wanted, coins.overrides / coins.unwanted)


def weight(source: Channel) -> Number:
    """Return w = clip(J / .6, 0, 1)."""
    return np.clip(np.asarray(source.youden) / FULL_TRUST, 0.0, 1.0)[()]


def posterior(coins: Coins, liked: Number, wanted: Number) -> Number:
    """Return g', proportional to g P(z | wanted): the probability that what a source has answered was wanted.

    Args:
        coins: the source's, before the answer; the pseudo-counts keep both estimates inside (0, 1).
        liked: z.
        wanted: g, the same as far as the others tell.

    The answer itself is part of the evidence. Source: DESIGN section 7, EM.
    """
    source = channel(coins)
    says_if_wanted = liked * source.alpha + (1 - liked) * (1 - source.alpha)
    says_at_all = liked * predicted_like(source, wanted) + (1 - liked) * (1 - predicted_like(source, wanted))
    return wanted * says_if_wanted / says_at_all


def count(coins: Coins, liked: Number, wanted: Number, amount: Number) -> Coins:
    """Return the coins with `amount` more answers z to scenarios wanted with probability `wanted`; a negative amount takes back.

    An answer counts 1, at its `posterior`; one whose truth an outcome has told counts `OUTCOME_WEIGHT`, at 1 or 0.
    """
    return Coins(
        coins.likes + amount * wanted * liked,
        coins.wanted + amount * wanted,
        coins.overrides + amount * (1 - wanted) * (1 - liked),
        coins.unwanted + amount * (1 - wanted),
    )


def wealth(source: Channel, answers: Number, overrides: Number, rate: float) -> Number:
    """Return what one source adds to the trusted budget: w (n (1 - alpha + J r) - o), overrides beyond its own error.

    Args:
        source: its channel as of now.
        answers: n, likes and overrides.
        overrides: o.
        rate: r, the declared override rate.
    """
    return weight(source) * (answers * (1 - source.alpha + source.youden * rate) - overrides)
