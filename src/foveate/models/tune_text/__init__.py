"""`tune_text`: align a frozen image encoder with text, in minutes on a CPU.

Locked-image tuning: the embeddings of the encoder are computed once, and a small text transformer
and an affine image head are trained to a common space, from captions or the names of class folders,
with the sigmoid loss. The result is loaded as ``tuned:FOLDER``.
"""

from foveate.models.tune_text.data import Captions, read_captions
from foveate.models.tune_text.job import TuneTextJob

__all__ = ["Captions", "TuneTextJob", "read_captions"]
