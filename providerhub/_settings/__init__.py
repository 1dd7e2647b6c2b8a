"""What a hub is configured with: the argument, the environment, the settings file and the defaults."""
