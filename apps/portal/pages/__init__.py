"""One module a section: parse, one call, render."""
