"""Integrations with other libraries, each of which imports its library when it is used."""
