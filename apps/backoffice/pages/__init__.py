"""The staff's pages that are no list: dashboard, books, loading a catalogue."""
