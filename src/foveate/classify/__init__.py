"""`classify`: classification of images by class names (zero-shot) or by a linear probe.

Nothing is trained on the images: a vision-language model compares them with prompts, or a probe
that was fitted elsewhere classifies their embeddings.
"""

from foveate.classify.job import ClassifyJob
from foveate.classify.predict import Predictions, predict

__all__ = ["ClassifyJob", "Predictions", "predict"]
