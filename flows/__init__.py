"""Prefect, and only Prefect: when digitocr's work is done, how often, and how much at once."""
