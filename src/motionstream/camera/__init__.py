"""Camera control from one picture: depth, camera paths, and the tracks that a moving camera makes (paper table 2)."""
