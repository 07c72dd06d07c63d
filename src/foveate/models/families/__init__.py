"""The families of frozen models, one file or folder each; `foveate.models.load` names them."""
