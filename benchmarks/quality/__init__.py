"""Ours against other libraries: the same data, the same bytes, every row of what a person may ask for."""
