"""What the model sees: a record as text, tokens and pixels, the records of a stage, and batches of them."""
