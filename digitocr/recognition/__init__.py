"""From glyphs to texts with a confidence, accepted or with reasons."""
