"""Services' connections, shared out among their tasks where they begin."""
