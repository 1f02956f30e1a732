"""A local web page for a codec: record audio, see it, play it, stream it; needs the ``page`` extra."""
