"""Tests of KoboldFS; see doc/ for what each folder is for."""
