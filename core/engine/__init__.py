"""Transform, evaluate, compare and remember."""
