"""Each rule and guard, switched off in the production code, and how soon the simulation notices.

    python -m tests.simulation.mutations docs/mutations.md

writes the table. To add some, write a module in this folder with a list `MUTATIONS`
(mutation.py:Mutation); it is found by itself. A mutation replaces attributes of production classes
or modules while its histories are played; the histories lean to what the rule is there for.
"""

import pkgutil
import re
from importlib import import_module

from tests.simulation.mutations.mutation import Mutation


def all_mutations() -> list[Mutation]:
    """Of all modules of this folder: rules in the order of their numbers, then guards."""
    found: list[Mutation] = []
    for module in pkgutil.iter_modules(__path__):
        if module.name not in ("__main__", "mutation", "page"):
            found += getattr(import_module(f"{__name__}.{module.name}"), "MUTATIONS", [])
    return sorted(found, key=_place)


def _place(mutation: Mutation) -> tuple[bool, list[int], str, str]:
    numbers = [int(number) for number in re.findall(r"\d+", mutation.rule)]
    return not mutation.rule.startswith("R"), numbers, mutation.rule, mutation.name
