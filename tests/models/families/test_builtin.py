import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from foveate.errors import DataError, FoveateError, ParameterError
from foveate.models.families import _filters as fl
from foveate.models.families.builtin import Builtin, _layout
from foveate.seeds import rng

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
UCMERCED = REPOSITORY.parent / "shared" / "data" / "ucmerced" / "images"
RGB8 = Builtin((1, 2, 3), [(0, 255)] * 3)
TEXTURE = ("pattern", "local", "orientation", "cross")


def tiles(*shape, seed=0):
    """Return smooth-plus-noise uint8 tiles, so that every scale has structure."""
    stream = rng(seed, "test/tiles")
    x = stream.random((*shape[:2], *shape[2:]))
    for axis in (-1, -2):
        x = x + np.roll(x, 1, axis) + np.roll(x, 2, axis)
    return (x / x.max() * 255).astype(np.uint8)


def columns(model, *prefixes):
    return np.array([n.startswith(prefixes) for n in model.feature_names()])


# --- the interface


def test_spec_says_what_the_embedding_depends_on():
    spec = RGB8.spec
    assert (spec.name, spec.bands, spec.input_size, spec.source) == (
        "builtin",
        (1, 2, 3),
        None,
        "no weights",
    )
    assert spec.non_negative
    assert spec.scale == ((0.0, 255.0),) * 3
    assert 256 <= spec.dim <= 1500
    json.dumps(spec.to_dict())


def test_bands_and_scale_stand_in_the_spec_and_not_in_the_fingerprint():
    other = Builtin((1, 2, 3), [(0, 200)] * 3)
    assert other.spec.fingerprint == RGB8.spec.fingerprint
    assert other.spec != RGB8.spec


@pytest.mark.parametrize("c", [1, 2, 3, 4, 6, 13])
def test_any_number_of_bands(c):
    model = Builtin(range(1, c + 1), [(0, 255)] * c)
    x = model.embed(tiles(2, c, 40, 33))
    assert x.shape == (2, model.spec.dim)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert (x >= 0).all()
    assert (x <= 1).all()
    assert not np.array_equal(x[0], x[1])
    names = model.feature_names()
    assert len(set(names)) == len(names) == model.spec.dim


@pytest.mark.parametrize("c", [1, 2, 3, 4, 9])
def test_every_group_has_the_size_of_its_layout(c):
    model = Builtin(range(1, c + 1), [(0, 255)] * c)
    stored = model._scaled(tiles(1, c, 32, 32)[0], 0)
    from foveate.models.families.builtin import _statistics

    values = list(_statistics(stored, model._weights))
    sizes = [v.size for v in values]
    assert sizes == [g.size + g.skip for g in _layout(c)]
    for group, v in zip(_layout(c), values, strict=True):
        if not group.name.startswith(("bands", "orientation")):
            assert v.sum() == pytest.approx(1, abs=1e-5), group.name


@pytest.mark.parametrize(("h", "w"), [(8, 8), (8, 300), (9, 11), (17, 64), (31, 8), (64, 65)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_small_and_oblong_tiles_of_every_dtype(h, w, dtype):
    x = RGB8.embed(tiles(1, 3, h, w).astype(dtype))
    assert np.isfinite(x).all()
    assert x.tobytes() == RGB8.embed(tiles(1, 3, h, w)).tobytes()


def test_no_tiles():
    assert RGB8.embed(np.zeros((0, 3, 16, 16), np.uint8)).shape == (0, RGB8.spec.dim)


@pytest.mark.parametrize("value", [0, 7, 128, 255])
@pytest.mark.parametrize("side", [8, 51])
def test_a_constant_tile_has_no_texture(value, side):
    x = RGB8.embed(np.full((1, 3, side, side), value, np.uint8))[0]
    assert np.isfinite(x).all()
    assert not x[columns(RGB8, *TEXTURE)].any()
    assert x[columns(RGB8, "colour")].any()


def test_float16_keeps_the_embedding():
    x = RGB8.embed(tiles(4, 3, 64, 64))
    assert np.abs(x - x.astype(np.float16)).max() < 1e-3
    assert ((x > 0) == (x.astype(np.float16) > 0)).mean() > 0.999


# --- the same bytes, whatever the batch, the memory layout and the threads


def test_batch_size_and_position_do_not_matter():
    batch = tiles(7, 3, 48, 40)
    x = RGB8.embed(batch)
    for i in range(7):
        assert RGB8.embed(batch[i : i + 1]).tobytes() == x[i].tobytes()
    assert RGB8.embed(batch[::-1]).tobytes() == x[::-1].tobytes()


def test_memory_layout_does_not_matter():
    batch = tiles(3, 3, 41, 52)
    last = np.ascontiguousarray(batch.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert RGB8.embed(last).tobytes() == RGB8.embed(batch).tobytes()
    assert RGB8.embed(np.asfortranarray(batch)).tobytes() == RGB8.embed(batch).tobytes()
    big_endian = batch.astype(">u2")
    assert RGB8.embed(big_endian).tobytes() == RGB8.embed(batch).tobytes()


def test_threads_do_not_matter():
    code = (
        "import hashlib, numpy as np\n"
        "from foveate.models.families.builtin import Builtin\n"
        "x = np.random.default_rng(3).integers(0, 255, (3, 3, 256, 256), dtype=np.uint8)\n"
        "print(hashlib.sha256(Builtin((1, 2, 3), [(0, 255)] * 3).embed(x).tobytes()).hexdigest())"
    )
    digests = set()
    for threads in ("1", "2", "5"):
        env = os.environ | {
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }
        run = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout.strip())
    x = np.random.default_rng(3).integers(0, 255, (3, 3, 256, 256), dtype=np.uint8)
    digests.add(hashlib.sha256(RGB8.embed(x).tobytes()).hexdigest())
    assert len(digests) == 1


def test_the_input_is_left_alone():
    batch = tiles(2, 3, 24, 24).astype(np.float64)
    before = batch.copy()
    RGB8.embed(batch)
    assert np.array_equal(batch, before)


def test_importing_the_encoder_does_not_load_torch():
    code = "import sys, foveate.models.families.builtin; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- scaling


def test_16_bit_with_the_wider_scale_is_the_same():
    batch = tiles(2, 3, 64, 64)
    wide = Builtin((1, 2, 3), [(0, 65535)] * 3)
    x = wide.embed(batch.astype(np.uint16) * np.uint16(257))
    assert np.abs(x - RGB8.embed(batch)).max() < 1e-4


def test_values_beyond_the_scale_are_clipped():
    batch = tiles(1, 3, 32, 32).astype(np.float64)
    wild = np.where(batch > 200, 1e308, batch)
    tame = np.where(batch > 200, 255.0, batch)
    assert RGB8.embed(wild).tobytes() == RGB8.embed(tame).tobytes()


# --- what it can tell apart


def stripes(period, angle, side=128):
    y, x = np.mgrid[:side, :side]
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    return np.repeat((127.5 + 100 * wave).astype(np.uint8)[None], 3, axis=0)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_textures_differ_and_rotations_do_not():
    stream = rng(0, "test/noise")
    noise = np.repeat(stream.integers(28, 228, (1, 128, 128)), 3, axis=0).astype(np.uint8)
    board = np.repeat(((np.indices((128, 128)) // 8).sum(0) % 2 * 200 + 28)[None], 3, axis=0)
    fine, coarse, turned = stripes(6, 0.3), stripes(24, 0.3), stripes(6, 0.3 + np.pi / 2)
    e = RGB8.embed(np.stack([fine, coarse, turned, noise, board.astype(np.uint8)]))
    assert cosine(e[0], e[2]) > 0.98
    for i, j in [(0, 1), (0, 3), (0, 4), (1, 3), (1, 4), (3, 4)]:
        assert cosine(e[i], e[j]) < 0.9, (i, j)


def test_orientation_tells_one_direction_from_right_angles():
    x = stripes(8, 0.0).astype(int)
    cross = ((x + stripes(8, np.pi / 2)) // 2).astype(np.uint8)
    e = RGB8.embed(np.stack([x.astype(np.uint8), cross]))
    names = RGB8.feature_names()
    two = names.index("orientation[level=1,order=0]")
    four = names.index("orientation[level=1,order=1]")
    assert e[0, two] > 0.9
    assert e[1, two] < 0.3
    assert e[0, four] > 0.9
    assert e[1, four] > 0.5


def test_colour_changes_the_embedding():
    grey = tiles(1, 1, 64, 64).repeat(3, axis=1) // 2 + 60
    red = grey.copy()
    red[:, 0] += 40
    a, b = RGB8.embed(np.concatenate([grey, red]))
    colour = columns(RGB8, "colour")
    assert cosine(a[colour], b[colour]) < 0.5


def test_every_band_changes_the_embedding():
    model = Builtin(range(1, 14), [(0, 10000)] * 13)
    base = np.full((1, 13, 32, 32), 3000, np.uint16)
    for band in range(13):
        other = base.copy()
        other[:, band] += 1500
        assert np.abs(model.embed(other) - model.embed(base)).max() > 0.02


# --- errors


@pytest.mark.parametrize(
    ("bands", "scale", "says"),
    [
        ((), [], "At least one band"),
        ((0, 1), [(0, 1)] * 2, "numbered from 1"),
        ((1, 2), [(0, 255)], "1 scale pairs for 2 bands"),
        ((1, 2), (0, 255), "one pair of numbers"),
        ((1,), [(5, 5)], "low < high"),
        ((1, 2), [(0, 1), (9, 5)], "for band 2"),
        ((1,), [(0, float("inf"))], "finite"),
        ((1,), [(float("nan"), 1)], "finite"),
    ],
)
def test_bad_parameters(bands, scale, says):
    with pytest.raises(ParameterError, match=says):
        Builtin(bands, scale)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (np.zeros((3, 16, 16), np.uint8), "tile\\[None\\]"),
        (np.zeros((1, 4, 16, 16), np.uint8), "4 bands"),
        (np.zeros((1, 3, 0, 16), np.uint8), "at least 1"),
        (np.zeros((1, 3, 16, 16), bool), "dtype bool"),
        (np.zeros((1, 3, 16, 16), complex), "dtype complex"),
        (np.full((1, 3, 16, 16), np.nan), "768|256 NaN"),
        (np.full((1, 3, 16, 16), np.inf, np.float32), "band 1"),
    ],
)
def test_bad_batches(batch, says):
    with pytest.raises(DataError, match=says) as error:
        RGB8.embed(batch)
    assert isinstance(error.value, FoveateError)
    assert error.value.allowed
    assert error.value.hint


# --- the operators


def test_contrasts_of_three_bands_are_ohtas():
    w = fl.contrast_weights(3)
    assert np.allclose(w[0], 1 / 3)
    assert np.allclose(w[1], [0.5, 0, -0.5])
    assert np.allclose(w[2], [0.25, -0.5, 0.25])


@pytest.mark.parametrize("c", [1, 2, 5, 13])
def test_contrasts_are_orthogonal_and_blind_to_grey(c):
    w = fl.contrast_weights(c)
    gram = w @ w.T
    assert np.allclose(gram - np.diag(np.diag(gram)), 0)
    assert np.allclose(w[1:].sum(axis=1), 0)
    assert np.allclose(np.abs(w).sum(axis=1), 1)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 3), (4, 2), (8, 9)])
@pytest.mark.parametrize("r", [1, 3])
def test_mirror_is_numpys_symmetric_pad(shape, r):
    a = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert np.array_equal(fl.mirror(a, r), np.pad(a, r, mode="symmetric"))


def test_gradient_of_a_ramp_is_its_slope():
    y, x = np.mgrid[:20, :30].astype(np.float32)
    gx, gy = fl.gradient(2 * x - 3 * y)
    assert np.allclose(gx[4:-4, 4:-4], 2, atol=1e-4)
    assert np.allclose(gy[4:-4, 4:-4], -3, atol=1e-4)


def test_uniform_table_against_the_definition():
    table = fl.uniform_table()
    for code in range(256):
        ring = [(code >> k) & 1 for k in range(8)]
        changes = sum(ring[k] != ring[k - 1] for k in range(8))
        assert table[code] == (sum(ring) if changes <= 2 else 9)


def test_ring_patterns_against_the_definition():
    a = rng(1, "test/plane").random((9, 12)).astype(np.float32)
    p = np.pad(a, 1, mode="symmetric")
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    d = np.stack([p[1 + y : 10 + y, 1 + x : 13 + x] - a for y, x in ring])
    limit = np.abs(d).mean()
    table = fl.uniform_table()
    got = fl.ring_patterns(a, 0.05)
    for y, x in np.ndindex(a.shape):
        sign = sum((d[k, y, x] >= np.float32(0.05)) << k for k in range(8))
        size = sum((abs(d[k, y, x]) >= limit) << k for k in range(8))
        assert got[y, x] == table[sign] * 10 + table[size]


def test_soft_histogram_interpolates():
    h = fl.soft_histogram([np.array([[0.25, 9.0]], np.float32)], [3])
    assert np.allclose(h, [0.375, 0.125, 0.5])
    pair = [np.array([[1.5]], np.float32), np.array([[0.25]], np.float32)]
    assert np.allclose(
        fl.soft_histogram(pair, [3, 2]).reshape(3, 2), [[0, 0], [0.375, 0.125], [0.375, 0.125]]
    )


# --- real imagery


def accuracies(x, classes, splits=5, k=5):
    """Return k-NN accuracies: cosine, half for training, majority, ties to the nearest."""
    x = x.astype(np.float16).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    similar = x @ x.T
    out = []
    for split in range(splits):
        stream = rng(split, "test/split")
        train = np.zeros(classes.size, bool)
        for c in np.unique(classes):
            rows = stream.permutation(np.flatnonzero(classes == c))
            train[rows[: rows.size // 2]] = True
        nearest = np.argsort(-similar[~train][:, train], axis=1, kind="stable")[:, :k]
        votes = classes[train][nearest]
        counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
        guess = votes[np.arange(len(votes)), counts.argmax(axis=1)]  # first = nearest on ties
        out.append((guess == classes[~train]).mean())
    return np.array(out)


@pytest.mark.slow
@pytest.mark.realdata
def test_ucmerced_neighbours_share_their_class():
    if not UCMERCED.is_dir():
        pytest.skip(f"UC Merced is not at {UCMERCED}")
    paths = sorted(UCMERCED.rglob("*.jpg"))[::2]  # all of them: benchmarks/builtin.py
    classes = np.unique([p.parent.name for p in paths], return_inverse=True)[1]
    x = np.empty((len(paths), RGB8.spec.dim), np.float32)
    for row, path in zip(x, paths, strict=True):
        with Image.open(path) as image:
            row[:] = RGB8.embed(np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None])[0]
    found = accuracies(x, classes)
    assert len(paths) == 1050
    assert found.mean() > 0.72, found


def test_a_sliver_is_continued_to_the_smallest_side():
    sliver = np.random.default_rng(0).integers(0, 255, (1, 3, 40, 3), dtype=np.uint8)
    continued = np.pad(sliver, ((0, 0), (0, 0), (0, 0), (0, 5)), mode="edge")
    assert (RGB8.embed(sliver) == RGB8.embed(continued)).all()
    assert np.isfinite(RGB8.embed(sliver[..., :1, :1])).all()
