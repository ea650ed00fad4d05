"""What training makes small: one loss a file, each a mean over the examples of a batch."""
