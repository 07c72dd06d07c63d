"""Random: the baseline of core-set paper, section IV-C.

The released code does not shuffle: its "random" is one fixed subset.
"""

from foveate.curate.methods.base import Method
from foveate.select.shuffle import shuffled

METHOD = Method(
    name="random", title="Random", source="core-set paper, section IV-C", function=shuffled
)
