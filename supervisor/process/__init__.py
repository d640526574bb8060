"""The process that the engine is: how it starts quickly, is signalled, logs, and is told of.

Each module is one affair of it, and knows nothing of the engine's parts.
"""
