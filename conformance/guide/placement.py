"""bitsandbytes over several GPUs (G13, G15)."""
