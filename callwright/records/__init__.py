"""What remains of a call: the journal, the recording, the tables folded from the journal, the price book."""
