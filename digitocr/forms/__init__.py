"""Form templates: invent values for one, fill it, look whether it can be read."""
