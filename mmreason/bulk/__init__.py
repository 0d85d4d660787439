"""Bulk jobs: exactly one row a request, whatever kills the process; and reasons by user and item, to serve."""
