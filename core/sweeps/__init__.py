"""Grids of recipes: planned, computed anywhere, kept, and the front that they form."""
