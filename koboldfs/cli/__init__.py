"""The command koboldfs."""
