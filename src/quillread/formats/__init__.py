"""Page formats: the reader and the writer of a format share a module."""
