"""Where readings and what people said of them are kept: SQLite, or PostgreSQL by URL."""
