"""Wire formats, both directions, without I/O: text and JSON in, values out, and back."""
