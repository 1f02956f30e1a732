"""Runs the models of a built repository without a server: executors, slots, scheduler."""
