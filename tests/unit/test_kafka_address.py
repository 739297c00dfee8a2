"""Where Kafka is, who we are there, and what each role may do there."""

import pytest

from connectors.environment import SettingsError
from connectors.kafka import client_config
from connectors.kafka.acls import ROLES, Acl, acls
from connectors.kafka.address import KafkaAddress
from schemas.topics import LOG, SUBMITTED, all_topics

SECURE = "kafkas://gate%40way:p%2Fw@one:9093,two:9093?ca=/tls/ca.pem"


def test_addresses_without_a_user_are_plain() -> None:
    assert KafkaAddress.parse("one:9092,two:9092") == KafkaAddress("one:9092,two:9092")
    found = client_config.client("one:9092,two:9092", client_config.log_error)
    assert found["bootstrap.servers"] == "one:9092,two:9092"
    assert "security.protocol" not in found


def test_a_user_logs_in_by_scram_over_tls_with_every_client() -> None:
    address = KafkaAddress.parse(SECURE)
    assert address == KafkaAddress("one:9093,two:9093", "gate@way", "p/w", "/tls/ca.pem")
    for made in (client_config.producer, lambda *_: client_config.consumer(SECURE, None)):
        found = made(SECURE, client_config.log_error)
        assert (found["bootstrap.servers"], found["security.protocol"]) == (
            "one:9093,two:9093",
            "SASL_SSL",
        )
        assert (found["sasl.username"], found["sasl.password"]) == ("gate@way", "p/w")
        assert found["ssl.ca.location"] == "/tls/ca.pem"
    theirs = address._replace(authority="").aiokafka()
    assert (theirs["sasl_plain_username"], theirs["security_protocol"]) == ("gate@way", "SASL_SSL")
    assert theirs["ssl_context"].check_hostname


@pytest.mark.parametrize(
    "wrong",
    [
        "kafka://u:secret@one:1",
        "kafkas://one:1",
        "kafkas://u@one:1",
        "kafkas://u:secret@",
        "kafkas://u:secret@one:1?verify=0",
    ],
)
def test_a_wrong_address_is_refused_without_telling_its_password(wrong: str) -> None:
    with pytest.raises(SettingsError, match="MESSENGER_KAFKA") as refused:
        KafkaAddress.parse(wrong)
    assert "secret" not in str(refused.value)


def test_a_role_writes_and_reads_what_the_topic_files_say_and_no_more() -> None:
    for role in ROLES:
        may = acls([role])
        for topic in all_topics().values():
            writes = Acl("topic", topic.name, "WRITE") in may
            reads = Acl("topic", topic.name, "READ") in may
            assert writes == (role in topic.writers), (role, topic.name)
            assert reads == (role in topic.readers or topic.name == LOG), (role, topic.name)
    together = acls(["cursors", "presence"])
    assert set(together) == {*acls(["cursors"]), *acls(["presence"])}
    may_be_producers = Acl("cluster", "kafka-cluster", "IDEMPOTENT_WRITE")
    assert may_be_producers in acls(["archiver"])
    assert may_be_producers not in together
    assert Acl("topic", SUBMITTED, "WRITE") not in acls(set(ROLES) - {"gateway"})
