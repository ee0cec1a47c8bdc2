"""What a lab is made of: names, the lab as read, its state, what was measured. Values only; no I/O, no policy."""
