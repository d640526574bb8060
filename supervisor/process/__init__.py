"""The process that the engine is: its start, signals, PID file, log, memory."""
