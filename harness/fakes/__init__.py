"""The in-process twin of every port, with simulated time, and a small simulated cluster behind them."""
