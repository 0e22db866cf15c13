"""Which requests make room if there are too many that do not become whole."""

from fw.web.unfinished import Unfinished


class Sender:
    """A connection with a request that is not whole."""

    def __init__(self, unfinished: Unfinished, size: int, begun_at: float, last_at: float) -> None:
        self.is_dropped = False
        unfinished.add(self, size, begun_at)
        unfinished.add(self, 1, last_at)

    def drop(self) -> None:
        self.is_dropped = True


def dropped(senders: list[Sender]) -> list[int]:
    return [n for n, sender in enumerate(senders) if sender.is_dropped]


def test_those_that_have_been_silent_longest_make_room() -> None:
    unfinished = Unfinished(1_000_000)
    senders = [Sender(unfinished, 10_000, 0.0, float(last_at)) for last_at in (4, 1, 9, 2, 8)]
    assert unfinished.close_silent(2, 10.0, 5.0)
    assert dropped(senders) == [1, 3]
    assert len(unfinished) == 3


def test_young_ones_and_too_few_do_not() -> None:
    unfinished = Unfinished(1_000_000)
    senders = [Sender(unfinished, 100, begun_at, 9.0) for begun_at in (0.0, 6.0, 7.0)]
    assert not unfinished.close_silent(2, 10.0, 5.0)
    assert dropped(senders) == []


def test_those_that_send_a_byte_now_and_then_make_room_for_slow_uploads() -> None:
    """2,100 of them, each with a byte every half second, had every upload cut that sent 500 bytes a second."""
    unfinished = Unfinished(1_000_000)
    uploads = [Sender(unfinished, 5_000, 0.0, 9.0) for _ in range(3)]
    dribblers = [Sender(unfinished, 150, 0.0, 9.5 + n / 100) for n in range(20)]
    assert unfinished.close_silent(16, 10.0, 5.0)
    assert dropped(uploads) == []
    assert dropped(dribblers) == list(range(16))


def test_those_that_send_nothing_after_much_make_room_if_no_others_do() -> None:
    unfinished = Unfinished(1_000_000)
    bursts = [Sender(unfinished, 30_000, 0.0, 0.1) for _ in range(16)]
    upload = Sender(unfinished, 5_000, 0.0, 9.0)
    assert unfinished.close_silent(16, 10.0, 5.0)
    assert len(dropped(bursts)) == 16
    assert not upload.is_dropped
