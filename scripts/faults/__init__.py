"""Kill, pause and attack servers under live streams, and count what the streams lose."""
