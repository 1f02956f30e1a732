"""A local web page to hear a codec: upload or record, see, play, and play live; needs the ``page`` extra."""
