"""The names under which the tensors of networks are published."""
