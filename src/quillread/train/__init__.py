"""Training: configuration, batches, the trainer, and what runs beside it."""
