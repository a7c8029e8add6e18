"""Training of generators: discriminators, losses, data, loop, recipes."""
