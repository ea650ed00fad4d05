"""Charts, one file each: results in, figure with alt text, caption and table out."""
