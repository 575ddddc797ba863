"""TrOCR: its files, how it is loaded, built from scratch and fed."""
