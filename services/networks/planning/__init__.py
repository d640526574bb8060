"""From what clients and flags ask to what a network will be. Nothing is made here."""
