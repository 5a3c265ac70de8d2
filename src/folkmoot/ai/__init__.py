"""Models: connections to providers, and the one door to call them."""
