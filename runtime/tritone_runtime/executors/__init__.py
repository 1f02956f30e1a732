"""What runs a graph, and on which device."""
