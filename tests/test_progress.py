import pytest

from foveate import progress
from foveate.progress import Meter, Tick


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_ticks_come_at_the_start_at_the_end_and_at_most_once_per_interval(clock):
    ticks = []
    with Meter(ticks.append, "reading", 10, interval=1.0, _start=clock.now) as meter:
        for _ in range(10):
            clock.now += 0.4
            meter.advance()
    assert [t.done for t in ticks] == [0, 3, 6, 9, 10]
    assert ticks[-1] == Tick("reading", 10, 10, pytest.approx(4.0))


def test_the_end_is_reported_when_the_work_fails():
    ticks = []

    def work():
        with Meter(ticks.append, "reading", 2) as meter:
            meter.advance()
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert ticks[-1].done == 1


def test_a_meter_without_a_callback_counts():
    with Meter(None, "reading") as meter:
        meter.advance(3)
    assert meter.done == 3


def test_eta_is_the_rest_at_the_mean_speed():
    assert Tick("x", 2, 10, 4.0).eta == 16.0


@pytest.mark.parametrize("tick", [Tick("x", 0, 10, 4.0), Tick("x", 3, None, 4.0)])
def test_eta_is_unknown_before_the_first_unit_and_without_a_total(tick):
    assert tick.eta is None
