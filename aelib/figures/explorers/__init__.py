"""Pictures a reader can move on a page without a kernel: a slider, a pad that runs a decoder."""
