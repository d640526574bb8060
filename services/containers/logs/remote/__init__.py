"""Log drivers that send elsewhere: what is printed is kept locally first, and sent from there."""
