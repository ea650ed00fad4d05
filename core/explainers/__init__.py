"""Ways to say which parts of one example speak for what a network says of it; one file a method."""
