"""Another vendor takes over when one fails: when to stop trusting one, and how several stand beside each other."""
