"""A built model repository at work, without a server: executors, slots, scheduler."""
