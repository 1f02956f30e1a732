"""Speech models beside a codec: each example runs with a stand-in for the language model."""
