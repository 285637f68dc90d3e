"""The world outside, faithful and scriptable: vendors, a caller, a LiveKit server. Knows nothing of our inside."""
