"""Moving a collection from one embedding version to another: states, gates, routes."""
