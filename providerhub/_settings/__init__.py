"""The settings of a hub: arguments, the environment, the settings file and the defaults."""
