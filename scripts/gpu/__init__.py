"""Time the models on a GPU, with every runtime that can run them."""
