"""What learning brings, over seeds: to a compressed network, to a student, on other data. Makes LEARNING.md."""
