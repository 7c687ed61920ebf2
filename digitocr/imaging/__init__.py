"""Arrays in, arrays out: from gray pixels to glyphs a classifier can read."""
