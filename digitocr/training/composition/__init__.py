"""Whole numbers in one hand, drawn: what a reader of numbers is trained and chosen on."""
