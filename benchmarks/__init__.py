"""Speed, as ratios in one run against a stated baseline."""
