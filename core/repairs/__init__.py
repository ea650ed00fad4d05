"""Repairs without training, one file a method: what compression moved is put back from the calibration split."""
