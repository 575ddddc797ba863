"""Whole pages: finding the lines, ordering them, reading them, scoring what was found."""
