"""Decoding: from class probabilities to text with confidences. Arrays and strings, no torch."""
