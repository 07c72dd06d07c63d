"""How often answers are right, and how sure that is."""

import numpy as np
import pytest

from foveate.report.chance import right


def test_all_answers_right_leave_an_interval_by_the_number_of_scenes():
    truth = np.arange(12) % 3
    alone = right(truth, truth, np.arange(12), ("a", "b", "c"))
    # Wilson 1927: n / (n + z^2) where every one of n trials succeeds
    assert alone.low == pytest.approx(12 / (12 + 1.959964**2))
    assert alone.high == pytest.approx(1.0)
    by_scene = right(truth, truth, np.arange(12) // 4, ("a", "b", "c"))
    assert by_scene.low == pytest.approx(3 / (3 + 1.959964**2))


def test_no_answer_right_leaves_an_interval_above_zero():
    truth = np.zeros(20, int)
    none = right(truth + 1, truth, np.arange(20), ("a", "b"))
    assert none.share == none.low == 0
    assert none.high == pytest.approx(1.959964**2 / (20 + 1.959964**2))
