"""Languages: models of characters and words, how they are built, chosen and used in decoding."""
