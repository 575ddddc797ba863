"""Durable jobs: a queue in the database, processes that work on it, and what they do."""
