"""Drop-in replacements for other projects' decoders."""
