"""Measures KoboldFS beside the limits of the machine that it runs on."""
