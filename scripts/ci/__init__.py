"""Checks that continuous integration runs beside the tests."""
