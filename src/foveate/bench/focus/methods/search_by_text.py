"""Hierarchical search of an image by text: where to look is decided apart from the answer.

Both methods here grow a tree of crops, best first, by how well a crop fits what is looked for,
and then show the answerer the crops that were found. Their authors ask a generative model about
every crop ("is there a ...?", "could you answer now?") or compare it with the text by a retrieval
model. Here one number stands for all of these: the fit of the query (its probability among the
classes, or cosine to the text), and without a query the probability of the most likely class. The
answerer is the head, on the found crops alone. Every crop costs a pass, whatever its size: it is
shrunk to the input of the model.
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
        window: What it shows.
        depth: 0 for the whole scene.
        fit: How well it fits what is looked for.
        x: (d,) its feature.
        children: Crops that it was cut into; none for a leaf of the tree.
    """

    window: Window
    depth: int
    fit: float
    x: NDArray[np.float32]
    children: list[Node] = field(default_factory=list)


class CropTree:
    """Crops of a scene that were shown to the model, as a tree.

    Args:
        task: A task.
        branch: Children of a crop per side; strips are cut across only.

    Attributes:
        root: The whole scene.

    Raises:
        MissingCapabilityError: Nothing is looked for: neither query nor classes.
        BudgetError: The passes do not buy the overview.
    """

    def __init__(self, task: Task, branch: int) -> None:
        self._task, self._branch = task, branch
        if not task.question.query and task.question.head is None:
            raise MissingCapabilityError(
                "a search by text needs a query or classes, and there are none",
                "Give labels, a probe or a query.",
            )
        native_tiles(task)
        shown, x = show(task, [whole(task)])
        self.root = self._nodes(shown, x, 0)[0]

    def is_leaf(self, node: Node) -> bool:
        """Say whether a crop is as small as the model sees without shrinking it."""
        return max(node.window.h, node.window.w) <= LEAF * self._task.crop

    def grow(self, node: Node) -> list[Node]:
        """Cut a crop and show its parts; none where the budget does not hold all of them."""
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
        """Return the crops that were not cut: they do not overlap."""
        found, queue = [], [self.root]
        while queue:
            node = queue.pop(0)
            queue.extend(node.children)
            if not node.children:
                found.append(node)
        return found

    def ranked(self, nodes: Sequence[Node]) -> list[Node]:
        """Sort crops by falling fit."""
        if not nodes:
            return []
        ties = ties_of(self._task, [node.window for node in nodes])
        return [nodes[i] for i in rank(np.array([node.fit for node in nodes]), ties)]

    def outcome(self, found: Sequence[Node]) -> Outcome:
        """Return the outcome of found crops, which answer by their mean probability.

        Other crops that were not cut follow as regions, the best first, where they do not
        overlap what was found.
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
            assert question.head is not None  # noqa: S101  (asked for above)
            fit = probabilities(question.head, x).max(axis=1)
        return [Node(window, depth, float(fit[i]), x[i]) for i, window in enumerate(windows)]


@dataclass(frozen=True)
class ZoomEye:
    """Best first down a quadtree until a crop is good enough (Shen et al. 2024, "ZoomEye").

    The crop that fits best is taken from a queue; where its fit reaches the threshold, the search
    ends and it answers; else its quarters are shown and queued. After three crops a level the
    threshold falls every second crop, and an earlier one that reaches it answers. Deviations: one
    score for the authors' three confidences (existing, latent, answering), so that their weight
    by depth drops out; the overview never ends the search, which the authors do where several
    things are looked for.

    Attributes:
        threshold: Fit that ends the search.
        falls: What the threshold falls by, first to last; the last one is repeated.
        pops: Crops a level before it falls.
        every: Crops from one fall to the next.
        depth: Deepest level.
    """

    threshold: float = 0.6
    falls: tuple[float, ...] = (0.1, 0.1, 0.2)
    pops: int = 3
    every: int = 2
    depth: int = 5

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy the overview.
            MissingCapabilityError: Neither query nor classes.
        """
        tree = CropTree(task, 2)
        levels = max(1, math.ceil(math.log2(max(1.0, max(task.shape) / task.crop))))
        limit, threshold, falls = self.pops * min(self.depth, levels), self.threshold, 0
        queue, popped = [tree.root], []
        while queue:
            node = tree.ranked(queue)[0]
            queue.remove(node)
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

    The crop that fits best is cut into 3 x 3; of the parts those are queued whose fit stands out,
    ``sigmoid(5 (fit - mean)) > 0.6``, six at most and one at least. After a native crop was
    reached, the search ends at a crop whose fit exceeds a threshold that falls by 0.1 every few
    crops. The native crops and the deepest others that stand out answer together. Deviations: the
    authors' retrieval model scores a part by all native patches in it, which is whole tiling by
    another network, and their answer model scores it once more; here a part is one crop and has
    one score. Where they paste the found crops into one canvas, their answers are averaged.

    Attributes:
        stands_out: Of the sigmoid.
        most: Crops that are kept of one cut, and that answer.
        steepness: Of the sigmoid.
        falls: What the threshold, at first 1, falls by.
        every: Crops from one fall to the next.
    """

    stands_out: float = 0.6
    most: int = 6
    steepness: float = 5.0
    falls: float = 0.1
    every: int = 5

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene.

        Raises:
            BudgetError: The passes do not buy the overview.
            MissingCapabilityError: Neither query nor classes.
        """
        tree = CropTree(task, 3)
        queue, native = [tree.root], []
        deepest = [tree.root]
        size = max(1.0, max(task.shape) // task.crop)
        limit, threshold, pops = int(math.log(size, 4) * self.every), 1.0, 0
        while queue:
            node = tree.ranked(queue)[0]
            queue.remove(node)
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
        """Return the crops whose fit stands out of others, the best first."""
        mean = float(np.mean([node.fit for node in nodes]))
        ranked = tree.ranked(nodes)
        gap = math.log(self.stands_out / (1 - self.stands_out)) / self.steepness
        return [node for node in ranked if node.fit - mean > gap][: self.most] or ranked[:1]
