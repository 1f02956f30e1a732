"""How the default checkpoint is made: text, speech, network, losses, training."""
