"""Batches through a network: no gradients, and as many images at once as the memory holds."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, MemoryLimitError, ParameterError

torch = pytest.importorskip("torch")

from foveate.models.preprocess import Preprocess  # noqa: E402
from foveate.models.runtime import InferenceRunner, out_of_memory  # noqa: E402

INPUTS = Preprocess(scale=((0, 255),), mean=(0.0,), std=(1.0,), size=None)
SPEC = EncoderSpec("net", 4, bands=(1,))
BATCH = np.arange(7 * 4, dtype=np.uint8).reshape(7, 1, 2, 2)


def frozen(**options):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout())
    return InferenceRunner(net, INPUTS, device="cpu", options=options)


class Small:
    """A function with memory for so many images; remembers how many it was given."""

    def __init__(self, room, error=torch.OutOfMemoryError):
        self.room, self.error, self.given = room, error, []

    def __call__(self, x):
        self.given.append(len(x))
        if len(x) > self.room:
            raise self.error("DefaultCPUAllocator: not enough memory")
        return x.flatten(1)


def test_a_network_is_frozen_and_evaluates():
    runner = frozen()
    found = runner.run(runner.net, BATCH, SPEC)
    np.testing.assert_allclose(found, BATCH.reshape(7, 4) / 255, atol=1e-7)  # nothing dropped
    assert found.dtype == np.float32
    assert not runner.net.training
    assert not any(p.requires_grad for p in runner.net.parameters())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_batches_shrink_until_they_fit(error):
    function, runner = Small(2, error), frozen()
    found = runner.run(function, BATCH, SPEC)
    np.testing.assert_allclose(found, BATCH.reshape(7, 4) / 255, atol=1e-7)
    assert function.given == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_what_fits_is_remembered():
    function, runner = Small(3), frozen()
    runner.run(function, BATCH, SPEC)
    function.given.clear()
    runner.run(function, BATCH, SPEC)
    assert function.given == [3, 3, 1]


def test_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(MemoryLimitError, match=r"a single image.*cpu.*smaller \?size="):
        frozen().run(Small(0), BATCH, SPEC)


def test_other_errors_pass():
    def broken(x):
        raise RuntimeError("no kernel image")

    with pytest.raises(RuntimeError, match="no kernel image"):
        frozen().run(broken, BATCH, SPEC)
    assert not out_of_memory(RuntimeError("no kernel image"))


@pytest.mark.parametrize("error", [RuntimeError("the size of tensor a"), AssertionError("not 7")])
def test_a_size_that_the_network_refuses_names_that_of_the_tiles(error):
    def broken(x):
        raise error

    with pytest.raises(ParameterError, match=rf"tiles of 2 x 2 pixels: {error}.*--tile"):
        frozen().run(broken, BATCH, SPEC)


def test_lists_go_through_in_parts_too():
    function = Small(2)
    found = frozen().in_parts(lambda part: function(torch.tensor(part)[:, None]), [1, 2, 3, 4, 5])
    assert found.tolist() == [[1], [2], [3], [4], [5]]


def test_a_batch_of_other_bands_is_refused():
    with pytest.raises(DataError, match="the batch for"):
        frozen().run(Small(9), BATCH.reshape(7, 2, 2, 1), SPEC)


def test_precision_is_an_option():
    assert frozen().precision == "float32"  # on a CPU
    runner = InferenceRunner(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4)), INPUTS,
        device="cpu", options={"precision": "bfloat16"},
    )  # fmt: skip
    assert runner.run(runner.net, BATCH, SPEC).dtype == np.float32
    with pytest.raises(ParameterError, match=r"precision='int8'.*Allowed: auto, float32"):
        frozen(precision="int8")


def test_another_size_shares_the_network_and_leaves_the_first_alone():
    first = frozen()
    second = first.at_size((4, 4))
    assert (second.net, second.device, second.precision) == (
        first.net, first.device, first.precision,
    )  # fmt: skip
    assert (first.preprocess.size, second.preprocess.size) == (None, (4, 4))
    assert second.run(second.net, BATCH, SPEC).shape == (7, 16)
    assert first.run(first.net, BATCH, SPEC).shape == (7, 4)


def test_the_network_for_another_size_is_frozen_too():
    first = frozen()
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    second = first.at_size((2, 2), net)
    assert second.net is net
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
