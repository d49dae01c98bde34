"""Quality during a migration: every rule, at every coverage, between pairs of models."""
