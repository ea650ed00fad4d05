"""Work beside the page: worker processes, the background, what a person steers while it runs."""
