"""The database: its tables, the engine that speaks to SQLite or PostgreSQL, and its migrations."""
