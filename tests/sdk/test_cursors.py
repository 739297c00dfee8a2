from messenger_sdk.cursors import Cursors


def test_each_number_is_taken_once_and_says_what_is_missing() -> None:
    cursors = Cursors()
    assert cursors["alice:bob"] == 0
    assert [cursors.take("alice:bob", seq) for seq in (5, 6, 6, 5, 9, 8, 10)] == [0, 0, None, None, 2, None, 0]
    assert cursors["alice:bob"] == 10


def test_conversations_do_not_meet() -> None:
    cursors = Cursors()
    cursors.take("alice:bob", 5)
    assert cursors.take("alice:carol", 1) == 0
    assert cursors["alice:bob"] == 5
