"""Data: where line images with their text come from, and what is wrong with them."""
