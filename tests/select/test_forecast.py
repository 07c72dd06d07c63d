import pytest

from foveate.select import forecast as module
from foveate.select.forecast import Forecast, duration, forecast


@pytest.fixture
def slow(monkeypatch):
    """A machine with a million multiply-adds and a thousand logarithms per second."""
    monkeypatch.setattr(module, "_speeds", lambda: (1e6, 1e3))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01, "a second"),
        (1.4, "a second"),
        (2, "2 seconds"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5000, "83 minutes"),
        (5400, "2 hours"),
        (5 * 86400, "5 days"),
    ],
)
def test_durations_are_formatted_as_text(seconds, text):
    assert duration(seconds) == text


def test_forecast_is_formatted_as_a_sentence():
    assert str(Forecast(300, 5e6)) == "about 5 minutes and 5 MB of extra memory"


def test_k_center_takes_one_pass_per_centre(slow):
    assert forecast("kcenter", 1000, 100, 0, 50).seconds == pytest.approx(5)


@pytest.mark.parametrize("method", ["kcenter", "cb", "fa-cb"])
def test_greedy_methods_take_longer_for_a_greater_depth(slow, method):
    small, large = (forecast(method, 1000, 64, 5, k).seconds for k in (10, 100))
    assert large == pytest.approx(10 * small)


@pytest.mark.parametrize("method", ["lc", "random", "my-own"])
def test_other_methods_take_one_pass(slow, method):
    assert forecast(method, 1000, 100, 5, 9) == Forecast(0.1, 32_000)
    assert forecast(method, 1000, 0, 5, 9).seconds == pytest.approx(0.001)


def test_coverage_changes_less_with_each_pick(slow):
    first, second, third = (forecast("facility", 10**5, 64, 5, k).seconds for k in (1, 100, 10**4))
    assert first < second < third < 2 * second
    assert forecast("max-herding", 10**5, 64, 5, 9) == forecast("facility", 10**5, 64, 5, 9)


@pytest.mark.parametrize("method", ["typiclust", "hierarchical", "semdedup"])
def test_cluster_methods_take_many_passes(slow, method):
    small, large = (forecast(method, n, 64, 5, 9).seconds for n in (10**4, 10**6))
    assert forecast("random", 10**4, 64, 5, 9).seconds < small < large


def test_memory_grows_with_the_pool(slow):
    for method in ("kcenter", "cb", "fd", "lc-fd", "facility", "typiclust", "semdedup"):
        assert forecast(method, 10**6, 64, 5, 9).memory > forecast(method, 10**3, 64, 5, 9).memory


def test_machine_speed_is_measured_once():
    module._speeds.cache_clear()
    assert module._speeds() is module._speeds()
    assert min(module._speeds()) > 1e5


def test_cells_reduce_the_cost_of_a_deep_k_center(slow):
    n, k = 10**7, 10**6
    exact = forecast("kcenter", n, 512, 0, k)
    assert forecast("kcenter", n, 512, 0, k, 1000).seconds < exact.seconds / 100
    assert forecast("kcenter", n, 512, 0, 500, 1000) == forecast("kcenter", n, 512, 0, 500)
