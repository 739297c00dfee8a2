"""The right node: even, and moved by nothing but what must move it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.rendezvous import right_node

USERS = [f"user{number}" for number in range(2000)]
urls = st.lists(
    st.from_regex(r"http://[a-z0-9]{1,12}:[0-9]{2,5}", fullmatch=True),
    min_size=2,
    max_size=8,
    unique=True,
)


@given(urls)
def test_users_move_only_to_a_node_that_comes_and_from_a_node_that_goes(nodes: list[str]) -> None:
    before = {user: right_node(user, nodes) for user in USERS}
    assert before == {user: right_node(user, reversed(nodes)) for user in USERS}
    gone, left = nodes[0], nodes[1:]
    after = {user: right_node(user, left) for user in USERS}
    moved = [user for user in USERS if before[user] != after[user]]
    assert moved == [user for user in USERS if before[user] == gone]
    share = len(USERS) / len(nodes)
    assert share * 0.6 < len(moved) < share * 1.5
    assert all(share * 0.6 < count < share * 1.5 for count in Counter(before.values()).values())


def test_without_a_node_there_is_none() -> None:
    assert right_node("alice", []) is None
