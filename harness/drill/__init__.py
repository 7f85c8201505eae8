"""Drills for people: the game day whose fault is hidden, and what the people on call do about it."""
