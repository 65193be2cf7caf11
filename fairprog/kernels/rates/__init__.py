"""Rates of Bayes rules of normal laws, and the quadratic forms behind them."""
