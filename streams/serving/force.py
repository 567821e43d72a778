"""What people have commanded and what of it is in force, folded from the control records of one scope, or of all scopes."""

from msgspec import Struct, field
from msgspec.structs import replace

from schemas.events import Command, Control

ALL_SCOPES = "*"
# What `resume` takes back.
FLAGS = {Command.KILL: "killed", Command.FREEZE: "frozen", Command.SHADOW: "shadow"}


class Commanded(Struct, frozen=True):
    """Who commanded something, when by their clock, and why."""

    by: str
    time_ms: int
    reason: str = ""


class Force(Struct, frozen=True, omit_defaults=True):
    """What is in force in one scope, or in all, with who commanded each of it; sources by name.

    What is commanded of all scopes and of one stand beside each other: `resume` and `release` take back what has their own reach.
    """

    killed: Commanded | None = None
    frozen: Commanded | None = None
    shadow: Commanded | None = None
    quarantined: dict[str, Commanded] = field(default_factory=dict)
    revoked: dict[str, Commanded] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether anything is in force."""
        return self != NOTHING

    def after(self, control: Control) -> "Force":
        """Return what is in force after a command."""
        told, source = Commanded(control.by, control.time_ms, control.reason), control.subject
        if (flag := FLAGS.get(control.command)) is not None:
            return replace(self, **{flag: told})
        match control.command:
            case Command.RESUME:
                return replace(self, **dict.fromkeys(FLAGS.values()))
            case Command.QUARANTINE:
                return replace(self, quarantined={**self.quarantined, source: told})
            case Command.REOPEN:  # happens once, and leaves nothing in force
                return self
            case Command.REVOKE:
                return replace(self, revoked={**self.revoked, source: told})
            case _:
                return replace(self, quarantined=without(self.quarantined, source), revoked=without(self.revoked, source))

    def flags(self) -> list[tuple[str, Commanded]]:
        """Return what of it `resume` takes back, in words, and who commanded it."""
        return [(name, told) for name in FLAGS.values() if (told := getattr(self, name)) is not None]

    def parts(self) -> list[tuple[str, Commanded]]:
        """Return what is in force, in words, and who commanded it."""
        sources = [(f"{what} {name}", told) for what in ("quarantined", "revoked") for name, told in getattr(self, what).items()]
        return self.flags() + sources


def without(sources: dict[str, Commanded], source: str) -> dict[str, Commanded]:
    """Return what was commanded about all sources but one."""
    return {name: told for name, told in sources.items() if name != source}


NOTHING = Force()
