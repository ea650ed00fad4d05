"""Data handles with three disjoint splits: fit, calibration, evaluation."""
