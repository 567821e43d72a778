"""The worlds of the studies, by name: those that `docs/results` speaks of."""

from msgspec.structs import replace

from experiments.simulator.people import HONEST, Group, People, Team
from experiments.simulator.world import World

TURNED_AT = 18_000
OPERATORS = Group(name="operator", accounts=12)


def _among(*others: Group, share: float) -> People:
    """Return the operators with others among them, who give `share` of all answers."""
    return People((replace(OPERATORS, share=1 - share), *others))


_BIMODAL = World(name="bimodal")
_ABRUPT = World(name="abrupt", within=1.0, drift="abrupt")

WORLDS: dict[str, World] = {
    world.name: world
    for world in (
        _BIMODAL,
        World(name="mixed", mixed_share=0.25),
        _ABRUPT,
        World(name="abrupt-feature", within=2.0, drift="features"),
        World(name="gradual", within=1.0, drift="gradual"),
        World(name="recurring", within=1.0, drift="recurring", drift_at=9_000),
        World(name="liar", people=_among(Group(name="liar", accounts=1, share=0.4, manner="inverts"), share=0.4)),
        replace(
            _ABRUPT,
            name="liar-turning-at-drift",
            people=_among(Group(name="liar", accounts=1, share=0.4, manner="inverts", honest_until=TURNED_AT), share=0.4),
        ),
        replace(
            _ABRUPT, name="rubber-stampers", people=_among(Group(name="stamper", accounts=6, share=0.6, manner="likes"), share=0.6)
        ),
        World(name="colluders", people=_among(Group(name="colluder", accounts=3, share=0.2, manner="colludes"), share=0.2)),
        World(name="noisy", people=People((replace(OPERATORS, error=(0.0, 0.4)),))),
        World(name="silence", people=replace(HONEST, skipped=0.6)),
        World(name="loud", people=_among(Group(name="loud", accounts=1, share=0.6, error=(0.3, 0.3)), share=0.6)),
        World(name="biased", people=_among(Group(name="strict", accounts=4, share=0.4, bias=0.2), share=0.4)),
        World(name="sybils", people=_among(Group(name="sybil", accounts=400, share=0.3, manner="inverts", known=False), share=0.3)),
        World(
            name="sleepers",
            people=_among(
                Group(name="sleeper", accounts=40, share=0.4, manner="inverts", known=False, honest_until=TURNED_AT), share=0.4
            ),
        ),
        World(
            name="teams",
            conflict=0.2,
            people=replace(HONEST, teams=(Team("web", 0.6), Team("data", 0.3), Team("edge", 0.1))),
        ),
        World(name="scopes", scopes=3, classes=70, mixed_share=0.25),
        World(name="reward-apart", mixed_share=0.25, reward="surfaced"),
    )
}  # fmt: skip
