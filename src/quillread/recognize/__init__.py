"""Recognition: the one road from a line image to a transcript."""
