"""bitsandbytes on one device (G12, G14, G16)."""
