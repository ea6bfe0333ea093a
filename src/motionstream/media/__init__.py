"""Pictures and videos on disk, as uint8 arrays ``(H, W, 3)`` and ``(T, H, W, 3)``: the only place that decodes them."""
