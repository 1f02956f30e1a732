"""LiveStream streams: what is checked, cut, sent and replayed."""
