"""Random tiles: the baseline of cross-scale paper, section 5.4.1.

The order does not depend on scenes, so at a budget some get more tiles than others; `uniform`
spreads them.
"""

from foveate.observe.methods.base import Policy
from foveate.select.shuffle import shuffled

POLICY = Policy(
    name="random", title="Random", source="cross-scale paper, section 5.4.1", function=shuffled
)
