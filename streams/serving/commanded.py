"""What is in force in every scope, read from the control topic."""

from schemas.settings import Deployment
from schemas.topics import CONTROL
from streams.serving.following import follow
from streams.serving.force import ALL_SCOPES, Force


async def read_forces(deployment: Deployment) -> dict[str, Force]:
    """Return what people have commanded by scope, `*` for all scopes; a scope where nothing is in force is absent.

    Raises:
        TopologyError: there is no control topic.
    """
    forces: dict[tuple[str, int], Force] = {}
    async for batch in follow(deployment, [CONTROL.name]):
        for told in batch:
            place = told.event.scope or ALL_SCOPES, told.partition
            forces[place] = forces.get(place, Force()).after(told.event)
    # A command to all is one record in every partition: in force as soon as one of them has it.
    return {scope: force for (scope, _), force in forces.items() if force}
