"""`classify`: what each image shows, from class names or from a linear probe.

No training on the images at hand: a text model compares them with sentences, or a probe that was
fitted elsewhere judges their embeddings.
"""

from foveate.classify.job import ClassifyJob
from foveate.classify.predict import Predictions, predict

__all__ = ["ClassifyJob", "Predictions", "predict"]
