"""What people do and what goes wrong, by name. Each takes the world, a number that chooses whom it
concerns, and a number that chooses how, and returns whom and how, for the trace. What lasts ends by
itself."""

from collections.abc import Mapping

from simulation.faults.asked import ASKED
from simulation.faults.common import Action, Actions
from simulation.faults.kafka import KAFKA
from simulation.faults.people import PEOPLE
from simulation.faults.processes import PROCESSES
from simulation.faults.redis import REDIS
from simulation.faults.snapshots import SNAPSHOT

ALL: Actions = {**PEOPLE, **PROCESSES, **KAFKA, **REDIS, **ASKED, **SNAPSHOT}

ACTIONS: Mapping[str, Action] = {name: action for name, (_, action) in ALL.items()}
