"""Hierarchical search of an image by text: ZoomEye and ZoomSearch.

Both methods grow a tree of crops, best first, by the match of a crop with the target, and then
predict from the found crops. The authors query a generative model about every crop ("is there a
...?", "could you answer now?") or compare it with the text by a retrieval model. Here one number
replaces these: the match with the query (its class probability, or cosine to the text), and
without a query the probability of the most likely class. The prediction is that of the head for
the found crops. Every crop costs a pass, whatever its size: it is downsampled to the input of the
model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.focus.methods.answers import normalised, probabilities, rank
from foveate.bench.focus.methods.base import Outcome
from foveate.bench.focus.methods.crops import (
    affordable,
    native_tiles,
    show,
    ties_of,
    whole,
)
from foveate.bench.focus.methods.tiles import shared_area
from foveate.errors import MissingCapabilityError
from foveate.focus.partition import LEAF, parts, windows_of
from foveate.focus.strategies import valid_cells
from foveate.grid import Tiles, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.bench.focus.methods.base import Task


@dataclass(eq=False)
class Node:
    """A crop of the tree.

    Attributes:
        window: Its window.
        depth: 0 for the whole scene.
        fit: Match with the target.
        x: (d,) its feature.
        children: Its children; empty for a leaf of the tree.
    """

    window: Window
    depth: int
    fit: float
    x: NDArray[np.float32]
    children: list[Node] = field(default_factory=list)


class CropTree:
    """Tree of encoded crops of a scene.

    Args:
        task: A task.
        branch: Children of a crop per side; strips are divided along their length only.

    Attributes:
        root: The whole scene.

    Raises:
        MissingCapabilityError: The question has neither query nor classes.
        BudgetError: The passes do not cover the overview.
    """

    def __init__(self, task: Task, branch: int) -> None:
        self._task, self._branch = task, branch
        if not task.question.query and task.question.head is None:
            raise MissingCapabilityError(
                "a search by text needs a query or classes, and there are none",
                "Add labels, a probe or a query.",
            )
        native_tiles(task)
        windows, x = show(task, [whole(task)])
        self.root = self._nodes(windows, x, 0)[0]

    def is_leaf(self, node: Node) -> bool:
        """Return whether a crop has native resolution in the model's input."""
        return max(node.window.h, node.window.w) <= LEAF * self._task.crop

    def grow(self, node: Node) -> list[Node]:
        """Encode the children of a crop; returns none if the budget does not cover all of them."""
        cells = valid_cells(
            parts(Tiles.of("scene", [node.window]), self._branch), self._task.encoder
        )
        windows = windows_of(cells)
        if affordable(self._task, windows) < len(windows) or not windows:
            return []
        x = self._task.encoder.embed(windows)
        node.children = self._nodes(windows, x, node.depth + 1)
        return node.children

    def leaves(self) -> list[Node]:
        """Return the crops without children, which do not overlap."""
        leaves, queue = [], [self.root]
        while queue:
            node = queue.pop(0)
            queue.extend(node.children)
            if not node.children:
                leaves.append(node)
        return leaves

    def ranked(self, nodes: Sequence[Node]) -> list[Node]:
        """Sort crops by decreasing fit."""
        if not nodes:
            return []
        ties = ties_of(self._task, [node.window for node in nodes])
        return [nodes[i] for i in rank(np.array([node.fit for node in nodes]), ties)]

    def pop_best(self, queue: list[Node]) -> Node:
        """Remove the best of the queued crops, and return it."""
        best = self.ranked(queue)[0]
        queue.remove(best)
        return best

    def outcome(self, found: Sequence[Node]) -> Outcome:
        """Return the outcome of found crops, with their mean probability as prediction.

        Other leaves without overlap with them are added as regions, the best first.
        """
        head, leaves = self._task.question.head, self.leaves()
        windows = [node.window for node in found]
        for node in self.ranked(leaves):
            if not shared_area([node.window], windows).any():
                windows.append(node.window)
        answer = None
        if head is not None:
            x = np.stack([node.x for node in found])
            answer = normalised(probabilities(head, x).mean(axis=0))
        return Outcome(
            tuple(windows[: self._task.regions]), answer,
            np.array([node.fit for node in leaves], np.float64),
            tuple(node.window for node in leaves),
        )  # fmt: skip

    def _nodes(self, windows: Sequence[Window], x: NDArray[np.float32], depth: int) -> list[Node]:
        question = self._task.question
        fit = question.fit(x)
        if fit is None:
            assert question.head is not None  # noqa: S101  (required above)
            fit = probabilities(question.head, x).max(axis=1)
        return [Node(window, depth, float(fit[i]), x[i]) for i, window in enumerate(windows)]


@dataclass(frozen=True)
class ZoomEye:
    """Best-first search of a quadtree until a crop is good enough (Shen et al. 2024, "ZoomEye").

    The best crop is taken from a queue. If its fit is at least the threshold, the search ends with
    it; else its quarters are encoded and queued. After three crops per level the threshold falls
    every second crop, and the search ends with an earlier crop that exceeds it. Deviations: one
    score replaces the three confidences of the authors (existing, latent, answering), so their
    weighting by depth is omitted; the overview never ends the search, as with the authors if
    several targets are searched for.

    Attributes:
        threshold: Fit that ends the search.
        falls: Decrements of the threshold in order; the last one is repeated.
        pops: Crops per level before the threshold falls.
        every: Crops between decrements.
        depth: Maximum depth.
    """

    threshold: float = 0.6
    falls: tuple[float, ...] = (0.1, 0.1, 0.2)
    pops: int = 3
    every: int = 2
    depth: int = 5

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene; see `CropTree` for its errors."""
        tree = CropTree(task, 2)
        levels = max(1, math.ceil(math.log2(max(1.0, max(task.shape) / task.crop))))
        limit, threshold, falls = self.pops * min(self.depth, levels), self.threshold, 0
        queue, popped = [tree.root], []
        while queue:
            node = tree.pop_best(queue)
            popped.append(node)
            if node is not tree.root and node.fit >= threshold:
                return tree.outcome([node])
            if len(popped) >= limit:
                threshold -= self.falls[min(falls, len(self.falls) - 1)]
                falls, limit = falls + 1, limit + self.every
                good = [n for n in popped if n is not tree.root and n.fit >= threshold]
                if good or threshold < 0:
                    break
            if tree.is_leaf(node) or node.depth == self.depth:
                continue
            children = tree.grow(node)
            if not children:
                break
            queue.extend(children)
        best = tree.ranked(popped[1:] or tree.leaves())
        return tree.outcome(best[:1])


@dataclass(frozen=True)
class ZoomSearch:
    """Several branches of a tree of 3 x 3 parts (Zhou et al. 2025, "Look where it matters").

    The best crop is divided into 3 x 3 parts. Parts whose fit stands out are queued,
    ``sigmoid(5 (fit - mean)) > 0.6``, at most six and at least one. After the first native crop,
    the search ends at a crop whose fit exceeds a threshold that falls by 0.1 every few crops. The
    prediction is that of the native crops and the deepest others that stand out. Deviations: the
    retrieval model of the authors scores a part by all native patches in it, which is tiling by
    another network, and their answer model scores it again; here a part is one crop with one
    score. The authors paste the found crops into one canvas; here their predictions are averaged.

    Attributes:
        stands_out: Threshold of the sigmoid.
        most: Maximum number of crops kept per division, and of crops in the prediction.
        steepness: Steepness of the sigmoid.
        falls: Decrement of the threshold, which starts at 1.
        every: Crops between decrements.
    """

    stands_out: float = 0.6
    most: int = 6
    steepness: float = 5.0
    falls: float = 0.1
    every: int = 5

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene; see `CropTree` for its errors."""
        tree = CropTree(task, 3)
        queue, native = [tree.root], []
        deepest = [tree.root]
        size = max(1.0, max(task.shape) // task.crop)
        limit, threshold, pops = int(math.log(size, 4) * self.every), 1.0, 0
        while queue:
            node = tree.pop_best(queue)
            pops += 1
            if tree.is_leaf(node):
                native.append(node)
                continue
            if native and node.fit > threshold:
                break
            if pops >= limit:
                threshold, limit = threshold - self.falls, limit + self.every
            children = tree.grow(node)
            if not children:
                break
            queue.extend(self._stand_out(tree, children))
            level = children[0].depth
            if level >= deepest[0].depth:
                deepest = children + (deepest if level == deepest[0].depth else [])
        found = self._stand_out(tree, list(dict.fromkeys(native + deepest)))
        return tree.outcome(found[: task.regions])

    def _stand_out(self, tree: CropTree, nodes: Sequence[Node]) -> list[Node]:
        """Return the crops whose fit stands out, the best first."""
        mean = float(np.mean([node.fit for node in nodes]))
        ranked = tree.ranked(nodes)
        gap = math.log(self.stands_out / (1 - self.stands_out)) / self.steepness
        return [node for node in ranked if node.fit - mean > gap][: self.most] or ranked[:1]
