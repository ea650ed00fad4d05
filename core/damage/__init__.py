"""Who pays for compression, and why: flips, groups, classes, explanations side by side."""
