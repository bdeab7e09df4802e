"""Pictures a reader can move on a page without a kernel: a slider, a pad that runs a decoder, a
machine that trains an autoencoder."""
