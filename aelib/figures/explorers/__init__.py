"""Pictures a reader can move, on a page without a kernel: a slider, and a pad that runs a decoder."""
