"""The terminal front: `./wallwm COMMAND`. One file per command, imported only when its command is called."""
