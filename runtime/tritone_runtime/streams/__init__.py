"""Live streams: their state in slots, and the scheduler and batcher that run their steps."""
