"""Reading with TrOCR."""
