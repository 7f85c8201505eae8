"""Values of a game day. No I/O, no clock, no client of any system may be imported below this package."""
