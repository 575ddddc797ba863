"""The training of the line finder: its pages, real and synthetic, and the run."""
