"""From the bytes of an image file to 8-bit samples whose meaning is known."""
