"""What a node does for networks that span nodes: overlays, service addresses, published ports."""
