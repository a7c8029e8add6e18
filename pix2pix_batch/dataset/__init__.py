"""Making datasets: variants of each input, checked, split, and laid out for other tools."""
