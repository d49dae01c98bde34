"""Requests, filters, plans, execution and fusion."""
