"""The whole story on real data: `vstore demo`."""
