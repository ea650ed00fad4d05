"""Ways to give a network more learning, one file each, found by the registry."""
