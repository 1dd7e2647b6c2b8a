"""The fault server: scripts of steps, played on raw sockets."""
