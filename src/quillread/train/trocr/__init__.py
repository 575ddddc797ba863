"""TrOCR under training: the family, the form of its lines, and which of its weights are trained."""
