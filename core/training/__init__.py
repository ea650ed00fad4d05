"""Give a network more learning: what learns, on which examples, for how long, and what is kept of it."""
