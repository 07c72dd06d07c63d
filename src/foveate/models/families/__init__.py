"""Model families, one module or package each; registered in `foveate.models.load`."""
