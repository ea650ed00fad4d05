"""Will these data do? Classes, distance to the original's data, copies of what judges, doubtful labels."""
