from foveate.pool import Pool
from foveate.wording import part, plural


def test_numbers_have_the_form_of_their_noun():
    assert [plural(n, "tile") for n in (0, 1, 2)] == ["0 tiles", "1 tile", "2 tiles"]
    assert plural(2, "class", "classes") == "2 classes"
    assert plural(12345, "tile") == "12345 tiles"
    assert plural(12345, "tile", separators=True) == "12,345 tiles"


def test_the_verb_is_that_of_the_part():
    assert part(1, 4, "tile", "has", "have") == "1 of 4 tiles has"
    assert part(2, 4, "tile", "has", "have") == "2 of 4 tiles have"
    assert part(1, 1, "tile", "has", "have") == "1 of 1 tile has"


def test_a_pool_of_one_tile():
    assert repr(Pool.from_arrays(n=1)) == "Pool(1 tile)"
