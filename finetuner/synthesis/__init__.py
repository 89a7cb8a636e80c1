"""Training data made from data: hard negatives out of a corpus."""
