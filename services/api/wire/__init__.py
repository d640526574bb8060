"""What a request says and an answer is made of, by Go's and dockerd's rules."""
