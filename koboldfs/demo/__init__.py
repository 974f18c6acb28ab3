"""``koboldfs demo``: a real cluster in one terminal, and a tour of it."""
