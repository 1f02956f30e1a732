"""Code that commands of several folders share."""
