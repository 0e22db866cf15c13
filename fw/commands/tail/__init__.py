"""`fw tail`: the live inbox in a terminal, over the same WebSocket that every client uses."""
