"""What a store contains at one epoch: frozen state, and pure edits of it."""
