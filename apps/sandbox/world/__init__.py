"""What resources are made of: objects, events, parameters, names, and the registry."""
