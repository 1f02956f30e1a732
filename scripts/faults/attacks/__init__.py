"""What strangers try on one server."""
