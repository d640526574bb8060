"""What a cluster is made of: specs as clients write them, objects as they are stored."""
