"""Drop-in replacements for the decoders of other projects."""
