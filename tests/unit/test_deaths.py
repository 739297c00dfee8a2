"""After a death the supervisor asks Kafka at once: it has imported before what that needs."""

import subprocess
import sys

_CODE = """
import sys
from ops.local import deaths
kafka = lambda: {name for name in sys.modules if name.startswith(("aiokafka", "connectors.kafka"))}
assert "aiokafka" not in kafka(), "a command that looks at a local stack would wait for this"
deaths.prepare()
before = kafka()
from connectors.kafka.broker_leaving import unregister
from connectors.kafka.group_leaving import leave
assert kafka() == before, kafka() - before
"""


def test_what_a_death_needs_is_imported_when_the_stack_is_up_and_not_before() -> None:
    subprocess.run([sys.executable, "-c", _CODE], check=True)
