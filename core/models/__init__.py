"""Load models safely and hold what identifies them."""
