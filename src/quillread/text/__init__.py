"""Text: normal forms, character sets, tokenizers."""
