"""The calibration laboratory: probabilities, their reliability, conformal sets and intervals."""
