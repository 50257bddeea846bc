"""One module a topic: each translates a record into a call of the engine, and does no sums."""
