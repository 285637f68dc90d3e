"""The judge: metrics computed from recordings and wire traffic, benches, and the systems under test."""
