"""What the sandbox stands in for, a resource a file. Importing them registers them."""
