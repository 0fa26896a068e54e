"""The method: model, loss, optimizer, and what one training step needs."""
