"""From a probability to a decision: thresholds, costs, referring to a person, parity between groups."""
