"""`tune_text`: any frozen image encoder becomes an image-text model, in minutes on a CPU.

Locked-image tuning: the encoder's embeddings are computed once, and a small text transformer and
an affine image head learn to meet in one space, from captions or from the names of class folders,
with the sigmoid loss. The result is loaded as ``tuned:FOLDER``.
"""

from foveate.models.tune_text.data import Captions, read_captions
from foveate.models.tune_text.job import TuneTextJob

__all__ = ["Captions", "TuneTextJob", "read_captions"]
