"""A Kafka of its own, with the topics of schemas/topics."""

import subprocess
import time
from pathlib import Path

from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.wanted_topics import WantedTopics
from ops.local.brokers import Broker, kafka_properties
from ops.local.kafka import format_data, serve
from ops.local.process import die_with_parent
from tests.harness.ports import free_base_port

PARTITIONS, SLOTS = 32, 4
_START_SECONDS = 60.0


class KafkaServer:
    """One broker in `folder`. Stop it."""

    def __init__(self, folder: Path) -> None:
        port = free_base_port()
        self.servers = f"127.0.0.1:{port}"
        self.admin = TopicsAdmin(self.servers, WantedTopics(PARTITIONS, SLOTS, 1))
        self._folder = folder
        properties = folder / "server.properties"
        broker = Broker("kafka", 1, port, port + 1, folder)
        properties.write_text(kafka_properties(broker, [broker]))
        subprocess.run(
            format_data(properties, "AAAAAAAAAAAAAAAAAAAAAA"),
            check=True,
            capture_output=True,
            timeout=60,
        )
        with (folder / "log").open("wb") as output:
            self.process = subprocess.Popen(
                serve(properties), stdout=output, stderr=output, preexec_fn=die_with_parent
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.admin.create()
                return
            except KafkaUnreachable:
                if time.monotonic() > until:
                    self.stop()
                    raise
                time.sleep(0.3)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)
