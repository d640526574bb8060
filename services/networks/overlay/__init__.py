"""Networks that span nodes: who sends to whom, how it is encrypted, and the messages for it."""
