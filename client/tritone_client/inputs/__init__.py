"""What callers give, checked."""
