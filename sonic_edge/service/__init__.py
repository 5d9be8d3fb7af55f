"""The box at work: the daemon, its worker, USB sticks, orders over a socket, figures for monitoring."""
